"""A driver killed for good, its store damaged, mended by the command; then the search goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from cli_cases import mtl, write_case

from pipeline.driver.study_folder import StudyFolder
from pipeline.tracking.store import Store
from tests.driver.kill_cases import STUDY, Launches, check_store


def test_a_sound_study_needs_nothing_and_an_unknown_one_is_refused(
    store: Store, tmp_path: Path
) -> None:
    study = write_case(tmp_path, "cli_repair")
    where = ["--store", str(store.folder)]
    done = mtl("repair", study, *where)
    assert (done.code, "was not launched" in done.err) == (2, True)
    assert mtl("search", study, *where, "--workers", "1", "--trials", "2").code == 0
    done = mtl("repair", study, *where)
    assert (done.code, done.out) == (0, "Nothing is damaged in cli_repair.\n")

    left = store.studies / "cli_repair" / "cohorts" / ".000002-000004.json.123"
    left.write_text("[")
    done = mtl("repair", study, *where, "--dry-run")
    assert "1 of 1 can be mended: run it without --dry-run." in done.out
    assert left.exists()
    found = mtl("repair", study, *where, "--json").document
    assert (found["study"], found["dry_run"], found["mended"]) == ("cli_repair", False, 1)
    assert found["found"][0]["where"] == "cli_repair/cohorts/.000002-000004.json.123"
    assert not left.exists()


def test_a_torn_file_names_the_command_that_mends_it(store: Store, tmp_path: Path) -> None:
    study = write_case(tmp_path, "cli_torn")
    where = ["--store", str(store.folder)]
    assert mtl("search", study, *where, "--workers", "1", "--trials", "2").code == 0
    outcome = store.studies / "cli_torn" / "cohorts" / "000000-000002.json"
    outcome.write_text(outcome.read_text()[:-40])
    done = mtl("search", study, *where, "--workers", "1")
    assert done.code == 2
    assert "`mtl repair STUDY` mends" in done.err
    assert mtl("repair", study, *where).code == 0
    assert mtl("search", study, *where, "--workers", "1").code == 0
    assert len(StudyFolder(store.studies, "cli_torn").trials()) == 4


@pytest.mark.slow
def test_killed_damaged_and_mended_it_ends_as_a_straight_run(tmp_path: Path) -> None:
    study = tmp_path / "killed.yaml"
    study.write_text(STUDY % "")
    straight, killed = (Launches(study, tmp_path / name) for name in ("straight", "killed"))
    straight.run_to_end(n_workers=2)

    process = killed.launch(n_workers=2)
    killed.wait_for_progress(process)
    alive = mtl("repair", study, "--store", killed.store)
    assert (alive.code, "Another command is writing to the study" in alive.err) == (2, True)
    folder = StudyFolder(killed.store / "studies", "killed")
    while len(outcomes := sorted((folder.path / "cohorts").glob("0*.json"))) < 3:
        assert process.poll() is None, "the study ended before it was killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    outcomes[0].write_text(outcomes[0].read_text()[:-50])
    folder.journal.write_bytes(folder.journal.read_bytes()[:-11])
    (folder.path / ".record.json.4711").write_text("{")
    (prepared,) = (path for path in (killed.store / "cache").iterdir() if path.name != "index")
    (prepared / "train.numeric.npy").write_bytes(b"")

    done = mtl("repair", study, "--store", killed.store, "--json")
    assert done.code == 0, done.err
    found = done.document
    where = " ".join(one["where"] for one in found["found"])
    for part in (outcomes[0].name, "killed.journal", ".record.json.4711", prepared.name, "run"):
        assert part in where
    assert found["mended"] == len(found["found"])
    assert json.loads(mtl("repair", study, "--store", killed.store, "--json").out)["found"] == []

    killed.run_to_end(n_workers=2)
    trials, expected = killed.trials(), straight.trials()
    assert [t.params for t in trials] == [t.params for t in expected]
    assert [t.values for t in trials] == [t.values for t in expected]
    assert [t.state for t in trials] == [t.state for t in expected]
    check_store(straight)
