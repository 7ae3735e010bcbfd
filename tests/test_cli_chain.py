"""The command `mtl` on a study that is searched, compared, promoted and used."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cli_cases import Done, mtl, people, write_case

from pipeline.promotion import rollback
from pipeline.promotion.standalone import Standalone
from pipeline.stages import promoting
from pipeline.tracking.store import Store


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No store or data folder of the user's own, and a working folder that is nobody's."""
    monkeypatch.delenv("MTL_STORE", raising=False)
    monkeypatch.delenv("MTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Path]:
    """A study that was searched, compared and promoted."""
    file = write_case(tmp_path_factory.mktemp("study"), "cli_people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTL_STORE", str(store.folder))
        for command in ("search", "compare", "promote"):
            done = mtl(command, file, *(["--workers", "1"] if command == "search" else []))
            assert done.code == 0, done.err
        yield file


def run(store: Store, command: str, study: Path, *words: str) -> Done:
    return mtl(command, study, "--store", store.folder, *words)


JSON_COMMANDS = {
    "check": {"study", "tasks", "ranges"},
    "prepare": {"rows", "tasks", "data", "prepared"},
    "train": {"number", "state", "score", "evaluation", "run_id"},
    "evaluate": {"trial", "split", "n_rows", "mean", "tasks", "data", "prepared"},
    "search": {"study", "trials", "best", "experiment_id", "tracking_uri", "seconds", "phases"},
    "show": {"study", "trials", "running"},
    "compare": {"study", "split", "data", "rows", "gains", "delta_m", "verdicts", "test_reads"},
    "promote": {"decision", "model", "version", "previous", "gates"},
}


@pytest.mark.parametrize("command", JSON_COMMANDS)
def test_json_is_one_document_on_stdout(store: Store, study: Path, command: str) -> None:
    where = [] if command == "check" else ["--store", str(store.folder)]
    workers = ["--workers", "1"] if command == "search" else []
    done = mtl(command, study, "--json", *where, *workers)
    assert done.code == 0, done.err
    assert JSON_COMMANDS[command] <= done.document.keys()


def test_without_json_people_are_told_what_comes_next(store: Store, study: Path) -> None:
    done = run(store, "search", study, "--workers", "1", "--set", "search.keep=1")
    assert done.code == 0, done.err
    assert "4 trials: 4 complete, 0 pruned, 0 failed" in done.out
    commands = [line.split("#")[0].split() for line in done.out.splitlines() if " mtl " in line]
    assert [words[1] for words in commands] == ["ui", "compare", "promote", "search"]
    for words in commands[1:3]:  # they have the same store and settings
        assert mtl(*words[1:]).code == 0
    assert "ranges are searched" in done.err


def test_show_tells_the_trials_and_one_of_them(store: Store, study: Path) -> None:
    done = run(store, "show", study)
    assert done.code == 0
    assert all(f"#{number}" in done.out for number in range(4))
    assert "4 finished (4 complete), 0 asked or running" in done.out
    one = run(store, "show", study, "--trial", "2")
    assert "Trial #2: complete" in one.out
    assert "train.lr" in one.out
    assert run(store, "show", study, "--trial", "9").code == 2


def test_evaluate_and_compare_print_tables(store: Store, study: Path) -> None:
    done = run(store, "evaluate", study, "--split", "test")
    assert "on test: mean score" in done.out
    assert "rmse" in done.out
    done = run(store, "compare", study)
    assert all(word in done.out for word in ("equal weights", "boosting", "test was read for"))
    assert done.err == "", "nothing is trained twice"


@pytest.fixture
def no_clean_process(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first promotion asked the model in one; once is enough for the seconds that it takes."""
    answered = Standalone(gap=0.0, latency_ms=1.0, size_mb=0.1)
    monkeypatch.setattr(promoting, "ask_standalone", lambda *_: answered)
    monkeypatch.setattr(rollback, "check_standalone", lambda *_: answered)


def test_a_refused_promotion_ends_with_3_and_its_decision(
    store: Store, study: Path, no_clean_process: None
) -> None:
    trials = run(store, "show", study, "--json").document["trials"]
    worst = min(trials, key=lambda trial: trial["score"])["number"]
    strict = ["--trial", str(worst), "--set", "promote.gates.min_gain=0.5"]
    done = run(store, "promote", study, "--json", *strict)
    assert done.code == 3
    assert done.document["decision"] == "refused"
    assert "min_gain" in done.err
    table = run(store, "promote", study, *strict)
    assert table.code == 3
    assert "cli_people: refused" in table.out
    version = store.client().get_model_version_by_alias("cli_people", "champion").version
    assert str(version) == done.document["previous"]


def test_a_dry_run_says_what_would_happen(
    store: Store, study: Path, no_clean_process: None
) -> None:
    done = run(store, "promote", study, "--dry-run", "--set", "promote.model=tried_out")
    assert done.code == 0, done.err
    assert "tried_out: would be promoted" in done.out
    assert "without --dry-run would move tried_out@champion" in done.out
    assert not store.client().search_registered_models("name = 'tried_out'")


def test_a_rollback_ends_a_promotion(store: Store, study: Path, no_clean_process: None) -> None:
    trials = run(store, "show", study, "--json").document["trials"]
    best = max(trials, key=lambda trial: trial["score"])["number"]  # not the finalist
    loose = ["--set", "promote.gates.min_gain=-9", "--set", "promote.gates.max_task_loss=9"]
    done = run(store, "promote", study, "--json", "--trial", str(best), *loose)
    assert done.code == 0, done.err
    before, after = done.document["previous"], done.document["version"]
    told = run(store, "rollback", "cli_people", "--dry-run")
    assert f"cli_people@champion would be version {before}; it was version {after}" in told.out
    found = run(store, "rollback", "cli_people@champion", "--json").document
    assert (found["decision"], found["version"], found["previous"]) == (
        "rolled_back", before, after,
    )  # fmt: skip
    version = store.client().get_model_version_by_alias("cli_people", "champion").version
    assert str(version) == before
    done = run(store, "rollback", "cli_people")
    assert done.code == 2
    assert "no version before" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cli_poeple"], "Did you mean `cli_people`?"),
        (["cli_people@champ"], "Did you mean `champion`?"),
        (["cli_people", "--to", "9"], "no version before"),
        (["cli_people", "--store", "none"], "There is no store at none"),
    ],
)
def test_what_cannot_be_rolled_back_is_refused(
    store: Store, study: Path, words: list[str], told: str
) -> None:
    where = [] if "--store" in words else ["--store", store.folder]
    done = mtl("rollback", *words, *where)
    assert done.code == 2
    assert told in done.err
    assert done.err.count("mtl: ") == 1


READERS = {
    "csv": pd.read_csv,
    "jsonl": lambda path: pd.read_json(path, lines=True),
    "parquet": pd.read_parquet,
}


def test_predict_writes_each_form_alike(store: Store, study: Path, tmp_path: Path) -> None:
    people().drop(columns=["bought", "colour", "size", "part"]).to_csv("new.csv", index=False)
    answers = {}
    for form, read in READERS.items():
        done = mtl("predict", "cli_people@champion", "new.csv", "-o", f"out.{form}",
                   "--store", store.folder)  # fmt: skip
        assert done.code == 0, done.err
        assert "Wrote 150 rows" in done.err
        answers[form] = read(tmp_path / f"out.{form}")
    assert {"bought", "bought_proba_yes", "colour_proba_red", "size"} <= {*answers["csv"]}
    pd.testing.assert_frame_equal(answers["jsonl"], answers["csv"], check_dtype=False)
    pd.testing.assert_frame_equal(answers["parquet"], answers["csv"], check_dtype=False)


@pytest.mark.parametrize(
    ("model", "table", "output", "words"),
    [
        ("cli_people@challenger", "new.csv", "out.csv", "cli_people@champion"),
        ("nobody@champion", "new.csv", "out.csv", "with name=nobody not found. Known aliases"),
        ("cli_people", "new.csv", "out.csv", "NAME@ALIAS"),
        ("cli_people@champion", "none.csv", "out.csv", "There is no table none.csv"),
        ("cli_people@champion", "new.csv", "out.xls", "must end in one of .csv, .jsonl, .parquet"),
        ("cli_people@champion", "new.csv", "none/out.csv", "folder of none/out.csv does not"),
        ("cli_people@champion", "short.csv", "out.csv", "age"),
        ("cli_people@champion", "odd.csv", "out.csv", "Found 'tall' in row 3 (1 such rows"),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    store: Store, study: Path, tmp_path: Path, model: str, table: str, output: str, words: str
) -> None:
    people().to_csv("new.csv", index=False)
    people().drop(columns="age").to_csv("short.csv", index=False)
    people().astype({"height": object}).replace({"height": {people()["height"][2]: "tall"}}).to_csv(
        "odd.csv", index=False
    )
    done = mtl("predict", model, table, "-o", output, "--store", store.folder)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("mtl: ") == 1
    assert not (tmp_path / output).exists()


def test_studies_of_other_data_are_not_compared(store: Store, study: Path, tmp_path: Path) -> None:
    other = write_case(tmp_path, "cli_others")
    lines = (tmp_path / "people.csv").read_text().splitlines()
    (tmp_path / "people.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert run(store, "search", other, "--workers", "1").code == 0
    runs = store.client().search_runs(
        [store.client().get_experiment_by_name("cli_others").experiment_id]
    )
    done = mtl("compare", study, other, "--store", store.folder)
    assert done.code == 2
    assert "different data" in done.err
    after = store.client().search_runs([runs[0].info.experiment_id])
    assert len(after) == len(runs), "nothing was trained for it"
    twice = mtl("compare", study, study, "--store", store.folder, "--json")
    assert [found["study"] for found in twice.document["studies"]] == ["cli_people"] * 2


def test_json_of_a_command_keeps_messages_apart(store: Store, tmp_path: Path) -> None:
    file = write_case(tmp_path, "cli_apart")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "search", str(file), "--store", str(store.folder),
         "--workers", "1", "--trials", "2", "--json"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["trials"]["complete"] == 2
    assert "2 of 2 trials" in done.stderr
