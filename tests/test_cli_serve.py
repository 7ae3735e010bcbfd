"""`mtl serve` as a user has it: a process, an address, a request that works, Ctrl-C."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_cases import mtl, write_case

from pipeline import evaluate, load_model, load_study, prepare, search
from pipeline.data.prepare import read_part
from pipeline.driver.records import best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.tracking.store import Store
from pipeline.training.predict import predict_member

SHARED = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Served:
    """A server under way.

    Attributes:
        process: It.
        said: Its line with the address.
        curl: The command that it printed.
    """

    process: subprocess.Popen[str]
    said: str
    curl: str

    @property
    def port(self) -> int:
        return int(self.said.rpartition(":")[2])

    def request(self, method: str, path: str, document: Any = None) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = response.status, response.read().decode()
        connection.close()
        return found

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        split = json.loads(frame.to_json(orient="split", index=False, double_precision=15))
        status, text = self.request("POST", "/invocations", {"dataframe_split": split})
        assert status == 200, text
        return pd.DataFrame(json.loads(text)["predictions"])

    def stop(self) -> str:
        """Presses Ctrl-C and returns what was said on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=30)
        return err


@contextmanager
def served(model: str, store: Store, *words: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "pipeline.cli", "serve", model, "--store", str(store.folder)]
    process = subprocess.Popen(
        [*command, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first, process.communicate()[1]
        yield Served(process, first.strip(), process.stdout.readline().strip())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def run_id(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run of a model that was trained in a moment."""
    study = load_study(write_case(tmp_path_factory.mktemp("study"), "cli_served"))
    return str(search(study, 2, n_workers=1, store=store, say=lambda text: None)["best"]["run_id"])


def test_a_model_is_served_until_ctrl_c(store: Store, run_id: str) -> None:
    with served(run_id, store) as server:
        assert re.fullmatch(
            rf"{run_id} \(run {run_id}\) answers at http://127\.0\.0\.1:\d+", server.said
        )
        assert [server.request("GET", path)[0] for path in ("/ping", "/health")] == [200, 200]
        words = shlex.split(server.curl)
        assert words[:2] == ["curl", f"http://127.0.0.1:{server.port}/invocations"]
        status, text = server.request("POST", "/invocations", json.loads(words[-1]))
        assert (status, len(json.loads(text)["predictions"])) == (200, 1)
        if shutil.which("curl"):
            done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
            assert json.loads(done.stdout) == json.loads(text)
        status, text = server.request("POST", "/invocations", {"inputs": {"age": ["old"]}})
        assert (status, "`height`" in text) == (400, True)
        second = mtl("serve", run_id, "--store", store.folder, "--port", str(server.port))
        assert second.code == 2
        assert f"Port {server.port} of 127.0.0.1 cannot be used" in second.err
        said = server.stop()
        assert server.process.returncode == 0, said
        assert "Ctrl-C stops it." in said
        assert "Traceback" not in said
    with socket.socket() as free:  # nobody is left behind
        assert free.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cli_served@champion"], "no such model"),
        (["cli_served"], "NAME@ALIAS"),
        (["a" * 32], "Looking for the run"),
        (["x@champion", "--port", "0"], "must be a whole number above 0"),
        (["x@champion", "--port", "70000"], "must be a port from 1 to 65535"),
    ],
)
def test_what_cannot_be_served_is_refused(store: Store, words: list[str], told: str) -> None:
    done = mtl("serve", *words, "--store", store.folder)
    assert done.code == 2
    assert told in done.err


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_served_model_equals_offline_evaluation_on_every_test_row_of_adult(
    store: Store, tmp_path: Path
) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data in {SHARED}, which is absent")
    values: dict[str, Any] = {
        "name": "adult_served", "train.epochs": 2, "search.finalists": None, "search.keep": 1,
    }  # fmt: skip
    path = Path(__file__).parents[1] / "studies" / "adult.yaml"
    study = load_study(path, values, SHARED)
    search(study, 1, n_workers=1, store=store, say=lambda text: None)
    (best,) = best_trials(StudyFolder(store.studies, "adult_served").trials(), 1)
    offline = evaluate(study, "best", "test", store, say=lambda text: None)

    rows = read_part(study.spec, study.folder, "test", study.data_dir)
    assert len(rows) == 16281
    with served(best.run_id, store) as server:
        chunks = [server.predict(rows.iloc[at : at + 1000]) for at in range(0, len(rows), 1000)]
        server.stop()
    answers = pd.concat(chunks, ignore_index=True)

    # Row by row what the network gives for the prepared rows, decoded.
    part = prepare(study, store).parts["test"]
    predictor = load_model(best.run_id, store).pyfunc.unwrap_python_model().predictor
    outputs = predict_member(predictor.architecture, predictor.parameters, part)
    for kind in predictor._kinds:
        expected = kind.answer(outputs[kind.info.name].astype(np.float64))
        for name, values_of in expected.items():
            if values_of.dtype.kind == "f":
                np.testing.assert_allclose(answers[name], values_of, rtol=1e-4, atol=1e-6)
            else:
                assert (answers[name] == values_of).all()

    # And the metrics that `mtl evaluate` gives, counted from what was served.
    hours = pd.to_numeric(rows_target(study, "hours_per_week"))
    error = ((hours - answers["hours"]) ** 2).sum() / ((hours - hours.mean()) ** 2).sum()
    assert offline["tasks"]["hours"]["r2"] == pytest.approx(1 - error, rel=1e-5)
    right = (rows_target(study, "marital_status") == answers["marital"]).mean()
    assert offline["tasks"]["marital"]["accuracy"] == pytest.approx(right, rel=1e-9)


def rows_target(study: Any, column: str) -> pd.Series:
    frame = pd.read_csv(SHARED / "adult.csv.gz")
    return frame[frame["split"] == "test"][column].reset_index(drop=True)
