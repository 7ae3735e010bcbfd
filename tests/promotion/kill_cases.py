"""Promotes in forked processes that kill themselves at one write to the registry or the run.

Run as a script, `kill_cases.py JSON`: importing MLflow takes seconds, which are paid once, before
the forks. No database is open in the process that forks.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from promotion_cases import CARD, contest, evaluation, facts

from pipeline.errors import StoreError
from pipeline.promotion.promote import Candidate, Place, current_champion, promote_model
from pipeline.promotion.registry import read_pointer
from pipeline.promotion.rollback import roll_back
from pipeline.promotion.standalone import Standalone
from pipeline.tracking.store import Store

WRITES = (
    "create_registered_model", "create_model_version", "update_model_version",
    "set_model_version_tag", "set_registered_model_alias", "set_registered_model_tag",
    "delete_registered_model_alias", "log_text", "set_tag",
)  # fmt: skip


def candidate(named: dict[str, Any]) -> Candidate:
    test = {side: evaluation(income=0.8) for side in ("candidate", "constant")}
    return Candidate("kill", 1, named["run_id"], named["model_id"], "d" * 32, test, CARD)


def promote(store: Store, model: str, named: dict[str, Any]) -> None:
    champion = current_champion(store, model, "champion")
    is_champion = champion is not None and champion.model_id == named["model_id"]
    measured: dict[str, Any] = {"is_champion": is_champion}
    if champion is not None and not is_champion:
        measured["contest"] = contest(0.1)
    promote_model(store, candidate(named), facts(**measured), Place(model, champion))


def back(store: Store, model: str) -> None:
    from pipeline.promotion import rollback

    rollback.check_standalone = lambda *_: Standalone()  # type: ignore[assignment]
    roll_back(store, model, "champion")


def kill_at(moment: int) -> None:
    """Kills this process just before its write of this number."""
    from mlflow import MlflowClient

    counted = [0]

    def killing(name: str) -> Any:
        original = getattr(MlflowClient, name)

        def call(*arguments: Any, **options: Any) -> Any:
            counted[0] += 1
            if counted[0] == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for name in WRITES:
        setattr(MlflowClient, name, killing(name))


def forked(work: Any) -> int:
    """Runs something in a fork; returns its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def race(store: Store, model: str, given: list[Any]) -> Any:
    """Promotes several models at once, each in a process of its own."""
    assert forked(lambda: promote(store, model, given[0])) == 0
    children = []
    for named in given[1:]:
        child = os.fork()
        if child == 0:
            try:
                promote(store, model, named)
            except StoreError as error:
                os._exit(2 if "was moved meanwhile" in str(error) else 1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    def told() -> Any:
        client = store.client()
        versions = client.search_model_versions(f"name = '{model}'")
        decisions = {str(found.version): found.tags["decision"] for found in versions}
        history = list(read_pointer(client, model, "champion").history)
        aliases = client.get_registered_model(model).aliases
        champion, previous = (str(aliases[name]) for name in ("champion", "previous"))
        return {"history": history, "decisions": decisions, "champion": champion,
                "previous": previous}  # fmt: skip

    return {"codes": codes, **asked(told)}


def asked(work: Any) -> Any:
    """Returns what something says in a fork, as JSON through a pipe."""
    reading, writing = os.pipe()

    def tell() -> None:
        os.write(writing, json.dumps(work()).encode())

    assert forked(tell) == 0
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return json.loads(file.read())


def state(store: Store, model: str) -> dict[str, Any]:
    pointer = read_pointer(store.client(), model, "champion")
    versions = store.client().search_model_versions(f"name = '{model}'")
    return {"version": pointer.version, "before": pointer.before, "versions": len(versions)}


def one_moment(store: Store, model: str, kind: str, moment: int, given: list[Any]) -> Any:
    """Kills a promotion or rollback at one write and runs it again; tells what was there."""

    def prepared() -> None:
        for named in given[: 1 if kind == "promote" else 2]:
            promote(store, model, named)

    def decided() -> None:
        promote(store, model, given[1]) if kind == "promote" else back(store, model)

    def killed() -> None:
        kill_at(moment)
        decided()

    def told() -> list[Any]:
        after = state(store, model)
        if kind == "promote":
            decided()
        return [after, state(store, model)]

    assert forked(prepared) == 0
    code = forked(killed)
    after, again = asked(told)
    return {"code": code, "after": after, "again": again}


def main(text: str) -> None:
    import mlflow  # noqa: F401

    given = json.loads(text)
    folder = Path(given["folder"])
    store = Store(folder, given["uri"], folder / "artifacts", folder / "studies", folder / "cache")
    for kind, moments in given["moments"].items():
        for moment in moments:
            model = f"{given['name']}-{moment}"
            if kind == "race":
                print(json.dumps(race(store, model, given["models"])), flush=True)
                continue
            found = one_moment(store, model, kind, moment, given["models"])
            print(json.dumps({"kind": kind, "moment": moment, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
