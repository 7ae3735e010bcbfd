"""A promotion that is killed at any write leaves the old champion, or has made the new one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.tracking.models import log_model
from pipeline.tracking.store import Store, open_store


@pytest.fixture(scope="module")
def server_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose runs, models and registry are at a tracking server of MLflow's own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}",
             "--artifacts-destination", str(folder / "artifacts")],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process)
        yield open_store(folder / "store", url)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise TimeoutError(f"{url} does not answer")


def killed(
    store: Store,
    make_predictor: Callable,
    name: str,
    moments: dict[str, list[int]],
    n_models: int = 2,
) -> list[dict[str, Any]]:
    """What there was after each kill, and after the same command again."""
    client = store.client()
    experiment = client.create_experiment(name, store.artifact_location(name))
    models = []
    for trial in range(n_models):
        run_id = client.create_run(experiment).info.run_id
        model_id = log_model(client, run_id, make_predictor(trial), None, None)
        models.append({"run_id": run_id, "model_id": model_id})
    given = {"name": name, "folder": str(store.folder), "uri": store.tracking_uri, "models": models,
             "moments": moments}  # fmt: skip
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, str(here / "kill_cases.py"), json.dumps(given)],
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parents[1]}"},
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_promotions(found: list[dict[str, Any]]) -> None:
    old = {"version": "1", "before": None}
    new = {"version": "2", "before": "1"}
    moved = [one["after"]["version"] == "2" for one in found]
    for one in found:
        after = {key: one["after"][key] for key in old}
        assert after in (old, new), one
        assert one["again"] == {**new, "versions": 2}, one
    assert moved == sorted(moved), "what is written after the alias moved does not undo it"


def test_a_promotion_that_is_killed_leaves_the_old_champion(
    store: Store, make_predictor: Callable
) -> None:
    found = killed(store, make_predictor, "kill-some", {"promote": [9]})
    assert [one["code"] for one in found] == [-9]
    check_promotions(found)


@pytest.mark.slow
def test_a_promotion_can_be_killed_at_every_write(store: Store, make_predictor: Callable) -> None:
    found = killed(store, make_predictor, "kill-all", {"promote": list(range(1, 14))})
    codes = [one["code"] for one in found]
    n_writes = codes.count(-9)
    assert codes == [-9] * n_writes + [0] * (13 - n_writes)
    assert 0 < codes.count(0) < 13, "every write of a promotion was reached"
    check_promotions(found)
    assert {one["after"]["version"] for one in found if one["code"]} == {"1", "2"}


@pytest.mark.slow
def test_a_rollback_can_be_killed_at_every_write(store: Store, make_predictor: Callable) -> None:
    found = killed(store, make_predictor, "kill-back", {"rollback": list(range(1, 11))})
    codes = [one["code"] for one in found]
    assert -9 in codes
    assert codes[-1] == 0
    moved = [one["after"]["version"] == "1" for one in found]
    assert moved == sorted(moved)
    assert {True, False} == {*moved}
    for one in found:
        check_rollback(one)


def check_rollback(one: dict[str, Any]) -> None:
    there = (one["after"]["version"], one["after"]["before"])
    assert there in (("2", "1"), ("1", None)), one


@pytest.mark.slow
def test_promoters_at_once_leave_one_consistent_champion(
    store: Store, make_predictor: Callable
) -> None:
    check_races(killed(store, make_predictor, "race-all", {"race": [1, 2]}, n_models=4))


@pytest.mark.slow
@pytest.mark.services
def test_at_a_server_kills_and_races_end_as_well(
    server_store: Store, make_predictor: Callable
) -> None:
    # The moments name the models, so that each must be another.
    moments = {"promote": [3, 9, 10, 11, 12], "rollback": [2, 4], "race": [1]}
    found = killed(server_store, make_predictor, "at-server", moments, n_models=4)
    promotions = [one for one in found if one.get("kind") == "promote"]
    assert {one["code"] for one in promotions} <= {-9, 0}
    assert promotions[0]["code"] == -9
    check_promotions(promotions)
    for one in found:
        if one.get("kind") == "rollback":
            check_rollback(one)
    check_races([one for one in found if "codes" in one])


def check_races(races: list[dict[str, Any]]) -> None:
    assert races
    for found in races:
        codes = found["codes"]
        assert {*codes} <= {0, 2}, codes
        assert 0 in codes
        # Who was too late has told so and left a version without alias; all others came in turn.
        assert len(found["history"]) == 1 + codes.count(0)
        assert [found["champion"], found["previous"]] == found["history"][:-3:-1]
        promoted = [version for version, said in found["decisions"].items() if said == "promoted"]
        assert {*promoted} == {*found["history"]}
        assert [*found["decisions"].values()].count("pending") == codes.count(2)
