"""Damage of every kind, mended: the search then goes on as if nothing had happened."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from stage_cases import Chain, chain_study, people

from pipeline import load_model, search
from pipeline.driver.records import best_trials
from pipeline.errors import InputError, StoreError
from pipeline.promotion.registry import register
from pipeline.stages import repair
from pipeline.tracking.models import log_model
from pipeline.tracking.runs import children
from pipeline.tracking.store import Store

KEYS: dict[str, Any] = {
    "search__trials": 12, "search__finalists": None, "search__keep": 2,
    "train__lr": {"low": 1e-3, "high": 1e-1, "log": True},
}  # fmt: skip


def launch(name: str, store: Store, n_trials: int, **keys: Any) -> Chain:
    chain = Chain(chain_study(name, **{**KEYS, **keys}), people(), store)
    search(chain.study, n_trials, n_workers=1, **chain.where)
    return chain


def go_on(chain: Chain) -> None:
    search(chain.study, n_workers=1, **chain.where)


def mend(chain: Chain, dry_run: bool = False) -> dict[str, Any]:
    return repair(chain.study, dry_run, chain.store, {"people": chain.frame})


def ends(chain: Chain) -> list[tuple[Any, ...]]:
    """What the trials of a study must have in common with those of a run without damage."""
    return [(t.number, dict(t.params), t.state, t.score, t.epochs, t.curve) for t in chain.trials]


@pytest.fixture(scope="module")
def straight(store: Store) -> Chain:
    """The study that nothing happened to: two cohorts, then a third."""
    chain = launch("repair_straight", store, 8)
    go_on(chain)
    assert {trial.state for trial in chain.trials} >= {"complete", "pruned"}
    return chain


def run_of(chain: Chain, number: int) -> str:
    return chain.trials[number].run_id


def stale_runs(chain: Chain) -> None:
    """The driver died before MLflow was told the end of two trials, in a third's training."""
    client = chain.store.client()
    record = chain.folder.record()
    for number in (2, 7):
        client.update_run(run_of(chain, number), status="RUNNING")
        client.set_tag(run_of(chain, number), "state", "running")
    client.update_run(record["run_id"], status="RUNNING")
    parent = client.get_run(record["run_id"])
    client.create_run(
        parent.info.experiment_id,
        tags={"mlflow.parentRunId": record["run_id"], "kind": "trial", "trial": "8",
              "state": "running", "study": chain.study.spec.name},
    )  # fmt: skip
    del record["state"]
    chain.folder.save_record(record)


def disagreeing_run(chain: Chain) -> None:
    client = chain.store.client()
    client.set_terminated(run_of(chain, 1), "KILLED")
    client.set_tag(run_of(chain, 1), "state", "interrupted")


def temporary_files(chain: Chain) -> None:
    path = chain.folder.path
    (path / "cohorts" / ".000008-000012.json.4711").write_text('[{"number": 8')
    half = path / "models" / ".trial-9.4711"
    half.mkdir(parents=True)
    (half / "model.json").write_text("{")


def torn_journal(chain: Chain) -> None:
    content = chain.folder.journal.read_bytes()
    chain.folder.journal.write_bytes(content + content.splitlines(keepends=True)[-1][:-7])


def journal_with_a_broken_line(chain: Chain) -> None:
    lines = chain.folder.journal.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b"\0" * 40 + b"\n"
    chain.folder.journal.write_bytes(b"".join(lines))


def journal_that_lost_its_end(chain: Chain) -> None:
    lines = chain.folder.journal.read_bytes().splitlines(keepends=True)
    chain.folder.journal.write_bytes(b"".join(lines[: len(lines) // 3]))


def lost_journal(chain: Chain) -> None:
    chain.folder.journal.unlink()


def lost_first_outcome(chain: Chain) -> None:
    """The second cohort was asked after the first was told, and its outcome is there."""
    (chain.folder.path / "cohorts" / "000000-000004.json").unlink()


def torn_last_outcome(chain: Chain) -> None:
    path = chain.folder.path / "cohorts" / "000004-000008.json"
    path.write_text(path.read_text()[:-100])


def stock_lock(chain: Chain) -> None:
    chain.folder.journal.with_name(chain.folder.journal.name + ".lock").write_text("")


def torn_model(chain: Chain) -> None:
    weights = chain.folder.model_path(chain.folder.models()[0]) / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-200])


def half_deleted_model(chain: Chain) -> None:
    (chain.folder.model_path(chain.folder.models()[0]) / "model.json").unlink()


def unwanted_model(chain: Chain) -> None:
    worst = next(trial for trial in chain.trials if trial.key not in chain.folder.models())
    kept = chain.folder.model_path(chain.folder.models()[0])
    shutil.copytree(kept, chain.folder.model_path(worst.key))


def torn_cache(chain: Chain) -> None:
    (chain.prepared.folder / "train.numeric.npy").write_bytes(b"")


def left_draft(chain: Chain) -> None:
    draft = chain.store.cache / f"{'0' * 64}.draft"
    draft.mkdir()
    (draft / "train.numeric.npy").write_bytes(b"half")


def deleted_models_files(chain: Chain) -> None:
    """A deletion that was cut off between the record and the files, and one the other way round."""
    first, second = chain.folder.record()["models"].values()
    chain.store.client().delete_logged_model(first)
    shutil.rmtree(chain.store.artifacts / chain.study.spec.name / "models" / second)


def half_saved_model(chain: Chain) -> None:
    client = chain.store.client()
    experiment = client.get_experiment_by_name(chain.study.spec.name)
    client.create_logged_model(
        experiment.experiment_id, "half", run_of(chain, 0), {"study": chain.study.spec.name}
    )


def unknown_model(chain: Chain) -> None:
    """Saved whole, but its driver was killed before it noted so."""
    record = chain.folder.record()
    record["models"].popitem()
    chain.folder.save_record(record)


DAMAGES: dict[Callable[[Chain], None], tuple[int, str]] = {
    stale_runs: (4, "is behind: the trial ended as"),
    disagreeing_run: (1, "is behind"),
    temporary_files: (2, "left by a killed process"),
    torn_journal: (1, "half a line"),
    journal_with_a_broken_line: (1, "cannot be read"),
    journal_that_lost_its_end: (1, "lacks trials"),
    lost_journal: (1, "is gone"),
    lost_first_outcome: (7, "of which no outcome is kept"),  # and all of its two models
    torn_last_outcome: (2, "is no JSON"),
    stock_lock: (1, "is a lock"),
    torn_model: (1, "is no whole model"),
    half_deleted_model: (1, "is no whole model"),
    unwanted_model: (1, "not among the best"),
    torn_cache: (1, "was cut short"),
    left_draft: (1, "killed while preparing"),
    deleted_models_files: (4, "has lost its files"),
    half_saved_model: (1, "was not saved to its end"),
    unknown_model: (1, "does not know of"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_mended_it_goes_on_as_if_nothing_had_happened(
    store: Store, straight: Chain, damage: Callable[[Chain], None]
) -> None:
    name = f"repair_{damage.__name__}"
    launched = launch(name, store, 8)
    damage(launched)
    chain = Chain(launched.study, launched.frame, store)  # another process has read nothing
    before = chain.files()
    count, words = DAMAGES[damage]

    dry = mend(chain, dry_run=True)
    assert chain.files() == before, "a dry run changes nothing"
    found = mend(chain)
    assert len(found["found"]) == count == found["mended"], found
    assert words in " ".join(one["what"] for one in found["found"])
    if damage not in (torn_cache, torn_last_outcome):  # without which the rest says nothing
        assert dry["found"] == found["found"]
    again = mend(chain)
    assert again["found"] == [], "what was mended is not found again"

    parent = chain.folder.record()["run_id"]
    client = store.client()
    states = {run.run_id: (run.status, run.state) for run in children(client, parent)}
    assert "RUNNING" not in [client.get_run(parent).info.status, *(s for s, _ in states.values())]
    for trial in chain.trials:
        assert states[trial.run_id][1] == trial.state
        steps = [m.step for m in client.get_metric_history(trial.run_id, "train/bought/loss")]
        assert steps == list(range(1, trial.epochs + 1)), "each epoch, once"

    go_on(chain)
    assert ends(chain) == ends(straight)
    assert set(chain.folder.models()) == set(straight.folder.models())
    kept = {trial.key for trial in best_trials(chain.trials, 2)}
    assert set(chain.folder.record()["models"]) == kept
    for trial in best_trials(chain.trials, 2):
        assert len(load_model(trial.run_id, store).predict(chain.frame.tail(3))) == 3


def half_a_line(log: bytes, journal: Path) -> bytes:
    return log[:-9]


def a_broken_line(log: bytes, journal: Path) -> bytes:
    lines = log.splitlines(keepends=True)
    return b"".join([*lines[:2], b"#" * 30 + b"\n", *lines[3:]])


def no_journal(log: bytes, journal: Path) -> bytes:
    journal.unlink()
    return log


@pytest.mark.slow
@pytest.mark.parametrize("damage", [half_a_line, a_broken_line, no_journal])
def test_in_the_free_order_nothing_is_lost_but_what_was_damaged(
    store: Store, damage: Callable[[bytes, Path], bytes]
) -> None:
    chain = launch(f"repair_free_{damage.__name__}", store, 8, search__order="free")
    before = {trial.number: trial for trial in chain.trials}
    log = chain.folder.path / "trials.jsonl"
    log.write_bytes(damage(log.read_bytes(), chain.folder.journal))
    chain = Chain(chain.study, chain.frame, store)
    assert {one["where"].rpartition("/")[2] for one in mend(chain)["found"]} >= {
        f"{chain.study.spec.name}.journal"
    }
    assert mend(chain)["found"] == []
    kept = {trial.number: trial for trial in chain.trials}
    assert len(kept) == (8 if damage is no_journal else 7)
    go_on(chain)
    assert [trial.number for trial in chain.trials] == list(range(12))
    for trial in chain.trials:
        if trial.number in kept:
            assert trial == before[trial.number]


def test_a_sound_study_needs_nothing(store: Store, straight: Chain) -> None:
    before = straight.files()
    found = mend(straight)
    assert found == {
        "study": "repair_straight", "dry_run": False, "found": [], "mended": 0, "notes": [],
    }  # fmt: skip
    assert straight.files() == before


def test_what_was_under_way_is_told(store: Store) -> None:
    chain = launch("repair_waiting", store, 4)
    record = chain.folder.record()
    record["cohorts"].append([4, 8])
    chain.folder.save_record(record)
    assert mend(chain)["notes"] == [
        "Trials 4 to 7 were under way: they run again with the same values."
    ]


def test_what_a_version_needs_is_told_and_left(store: Store, make_predictor: Callable) -> None:
    chain = launch("repair_registered", store, 4)
    client = store.client()
    run_id = run_of(chain, 0)
    model_id = log_model(client, run_id, make_predictor(), None, None)
    register(client, "repair_registered", model_id, run_id, {}, "")
    assert mend(chain)["found"] == [], "registered, though the study does not know of it"
    shutil.rmtree(store.artifacts / "repair_registered" / "models" / model_id)
    (found,) = mend(chain)["found"]
    assert (found["can_mend"], found["where"]) == (False, f"model {model_id}")
    assert "repair_registered/1 cannot be loaded: promote again" in found["remedy"]
    assert client.get_logged_model(model_id).model_id == model_id


def test_models_trained_by_hand_and_of_other_hands_stay(
    store: Store, make_predictor: Callable
) -> None:
    chain = launch("repair_by_hand", store, 4)
    client = store.client()
    experiment = client.get_experiment_by_name("repair_by_hand").experiment_id
    for tags in ({"study": "repair_by_hand", "row": "manual"}, {}):
        run_id = client.create_run(experiment, tags=tags).info.run_id
        log_model(client, run_id, make_predictor(), None, None)
    assert mend(chain)["found"] == []


def test_a_study_that_is_driven_is_not_touched(store: Store) -> None:
    chain = launch("repair_driven", store, 4)
    stale_runs(launch("repair_driven_too", store, 8))
    temporary_files(chain)
    before = chain.files()
    with FileLock(store.folder / "locks" / "study-repair_driven.lock"):
        for dry_run in (True, False):
            with pytest.raises(StoreError, match="Another command is writing to the study"):
                mend(chain, dry_run)
    assert chain.files() == before
    assert len(mend(chain)["found"]) == 2, "a lock file that nobody holds is no lock"


def test_a_study_that_was_not_launched_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not launched in"):
        repair(chain_study("repair_nothing"), store=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_read_is_told(store: Store) -> None:
    chain = launch("repair_record", store, 4)
    path = chain.folder.path / "record.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(StoreError, match=r"record\.json is no JSON.*Put back a copy"):
        mend(chain)
