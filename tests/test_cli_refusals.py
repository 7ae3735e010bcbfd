"""Input that is wrong: exit code 2, one message with its key and remedy, nothing half written."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_cases import Change, Done, mtl, write_case

from pipeline.serving import connection
from pipeline.tracking.store import Store


@dataclass(frozen=True)
class Case:
    """What is wrong, and words that the message must have."""

    words: tuple[str, ...]
    change: Change | None = None
    edits: tuple[tuple[str, str], ...] = ()


LR = "lr: {low: 1.0e-3, high: 1.0e-1, log: true}"


def put(column: str, rows: slice, value: object) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame[column] = frame[column].astype(object)
        frame.loc[rows, column] = value

    return change


IN_THE_FILE = {
    "a range with low above high": Case(
        ("`train.lr.low` must be below `high`", "Found 0.1 and 0.001", "Swap"),
        edits=((LR, "lr: {low: 0.1, high: 0.001}"),),
    ),
    "a log range from 0": Case(
        ("`train.lr.low` must be above 0 with `log: true`", "Found 0"),
        edits=((LR, "lr: {low: 0, high: 0.1, log: true}"),),
    ),
    "a log range from below 0": Case(
        ("`weights.low`", "above 0"), edits=(("model:", "weights: {low: -1, high: 2}\nmodel:"),)
    ),
    "an unknown key": Case(
        ("`serach` is not a key", "Did you mean `search`?"), edits=(("search:", "serach:"),)
    ),
    "an unknown key of a section": Case(
        ("`train.learning_rate` is not a key",), edits=((LR, "learning_rate: 0.1"),)
    ),
    "a doubled task": Case(
        ("`bought` must not stand twice", "line 6", "a name of its own"),
        edits=(("  colour:", "  bought:"),),
    ),
    "several faults at once": Case(
        ("has 2 faults", "`train.lr`", "`search.trials`"),
        edits=((LR, "lr: -1"), ("trials: 4", "trials: 0")),
    ),
}

IN_THE_DATA = {
    "an unknown column": Case(
        ("`tasks.colour.target` is no column", "Found color", "Did you mean `colour`?"),
        edits=(("target: colour", "target: color"),),
    ),
    "a wrong delimiter": Case(
        ("has one column", "delimiter"),
        edits=(("path: people.csv", "path: people.csv, delimiter: ';'"),),
    ),
    "a target with one class": Case(
        ("`bought`", "at least two labels", "Found only `yes`", "drop the task"),
        change=put("bought", slice(None), "yes"),
    ),
    "a label that no train row has": Case(
        ("`colour`", "only labels that some train row has", "`pink` in 1 row", "Stratify"),
        change=put("colour", slice(149, None), "pink"),
    ),
    "no label in train": Case(
        ("Task `colour` must have a labelled train row", "none in 90 train rows"),
        change=put("colour", slice(0, 89), None),
    ),
    "no label in test": Case(
        ("Task `size` must have a labelled row in every part", "none in test"),
        change=put("size", slice(120, None), np.nan),
    ),
    "targets that are no numbers": Case(
        ("`size`", "must hold numbers", "`tall`"), change=put("size", slice(5, 6), "tall")
    ),
    "an infinite target": Case(
        ("`size`", "must hold finite numbers", "inf", "empty"),
        change=put("size", slice(5, 6), np.inf),
    ),
    "targets that are all NaN": Case(
        ("Task `size` must have a labelled train row",), change=put("size", slice(None), np.nan)
    ),
    "an infinite input": Case(
        ("`height`", "finite", "inf"), change=put("height", slice(5, 6), np.inf)
    ),
    "a part that is empty": Case(
        ("must leave no part empty", "no test row", "`part`"),
        change=put("part", slice(120, None), "train"),
    ),
    "a part of another name": Case(
        ("`part`", "train, valid or test", "'tests'"), change=put("part", slice(120, None), "tests")
    ),
    "shares that leave a part empty": Case(
        ("must leave no part empty",),
        edits=(
            ("split: {column: part}", "split: {train: 0.9998, valid: 0.0001, test: 0.0001}"),
        ),
    ),
    "a group in two parts": Case(
        ("a group of `person` must stand in one part", "in train and test", "leave out `column`"),
        change=put("person", slice(149, None), "p0"),
        edits=(("split: {column: part}", "split: {column: part, group: person}"),),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MTL_STORE", raising=False)
    monkeypatch.delenv("MTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def check_refused(done: Done, words: tuple[str, ...]) -> None:
    assert done.code == 2, done.err
    assert done.out == ""
    before, _, message = done.err.partition("mtl: ")
    assert not before or before == "Study cli_resumed: 4 ranges are searched.\n"
    assert "mtl: " not in message
    assert "Traceback" not in done.err
    assert all(word in done.err for word in words), done.err


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", ["check", "search"])
def test_an_unknown_sampler_is_refused(tmp_path: Path, command: str) -> None:
    study = write_case(tmp_path, edits=(("trials: 4", "trials: 4, sampler: cmase"),))
    words = ("`search.sampler` is none of Optuna's samplers", "Did you mean `cmaes`?")
    done = mtl(command, study)
    assert done.code == 2
    assert all(word in done.err for word in words), done.err


@pytest.mark.parametrize("case", [*IN_THE_FILE.values()], ids=[*IN_THE_FILE])
@pytest.mark.parametrize("command", ["check", "prepare", "search"])
def test_a_file_with_a_fault_is_refused(tmp_path: Path, command: str, case: Case) -> None:
    study = write_case(tmp_path, change=case.change, edits=case.edits)
    check_refused(mtl(command, study), case.words)
    assert names_in(tmp_path) == ["people.csv", "study.yaml"]


@pytest.mark.parametrize("case", [*IN_THE_DATA.values()], ids=[*IN_THE_DATA])
@pytest.mark.parametrize("command", ["check", "prepare", "train", "search"])
def test_data_that_break_a_rule_are_refused(tmp_path: Path, command: str, case: Case) -> None:
    study = write_case(tmp_path, change=case.change, edits=case.edits)
    rows = ["--data-rows", "all"] if command == "check" else []
    check_refused(mtl(command, study, *rows), case.words)
    assert names_in(tmp_path) == ["people.csv", "study.yaml"]


@pytest.mark.parametrize("command", ["check", "prepare", "search"])
def test_a_missing_file_is_told_with_where_it_comes_from(tmp_path: Path, command: str) -> None:
    study = write_case(tmp_path)
    (tmp_path / "people.csv").unlink()
    done = mtl(command, study)
    check_refused(done, ("no file people.csv", "--data DIR", "Ask Ann for people.csv."))
    assert names_in(tmp_path) == ["study.yaml"]


@pytest.mark.parametrize("text", ["", "age,height,city,person,bought,colour,size,part\n"])
@pytest.mark.parametrize("command", ["check", "prepare", "search"])
def test_an_empty_table_is_refused(tmp_path: Path, command: str, text: str) -> None:
    study = write_case(tmp_path)
    (tmp_path / "people.csv").write_text(text)
    check_refused(mtl(command, study), ("people.csv", "empty" if not text else "has no rows"))
    assert names_in(tmp_path) == ["people.csv", "study.yaml"]


@pytest.mark.parametrize("command", ["check", "search", "show", "compare"])
def test_a_study_file_that_is_not_there_is_refused(tmp_path: Path, command: str) -> None:
    check_refused(mtl(command, "none.yaml"), ("none.yaml", "mtl init"))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("command", ["prepare", "train", "search"])
@pytest.mark.parametrize("store", ["a_file", "a_file/store"])
def test_a_store_that_cannot_be_written_is_refused(
    tmp_path: Path, command: str, store: str
) -> None:
    study = write_case(tmp_path)
    (tmp_path / "a_file").write_text("x")
    check_refused(mtl(command, study, "--store", store), ("cannot be written", "--store DIR"))
    assert names_in(tmp_path) == ["a_file", "people.csv", "study.yaml"]


@pytest.mark.parametrize("command", ["evaluate", "show", "compare", "promote"])
def test_a_study_that_was_not_searched_is_refused(tmp_path: Path, command: str) -> None:
    study = write_case(tmp_path)
    check_refused(mtl(command, study), ("`mtl search`", "--store DIR"))
    assert names_in(tmp_path) == ["people.csv", "study.yaml"]


@pytest.mark.parametrize("setting", ["train.lr", "=3", "train.lr=[1", "trian=3"])
def test_a_setting_that_is_none_is_refused(tmp_path: Path, setting: str) -> None:
    done = mtl("check", write_case(tmp_path), "--set", setting)
    assert done.code == 2
    assert setting.partition("=")[0] in done.err


def test_an_unknown_server_is_refused(tmp_path: Path) -> None:
    study = write_case(tmp_path)
    done = mtl("search", study, "--tracking-uri", "ftp://nobody")
    check_refused(done, ("--tracking-uri", "ftp://nobody"))


@pytest.mark.parametrize("command", ["search", "rollback"])
def test_a_server_that_nobody_runs_is_told_at_once(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ATTEMPTS", 1)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        what = "people" if command == "rollback" else write_case(tmp_path, "cli_resumed")
        done = mtl(command, what, "--tracking-uri", uri)
    check_refused(done, (uri, "cannot be reached", "--tracking-uri"))


def flip(frame: pd.DataFrame) -> None:
    frame.loc[0, "bought"] = "no" if frame.loc[0, "bought"] == "yes" else "yes"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Path:
    """A study that was searched in the shared store."""
    study = write_case(tmp_path_factory.mktemp("searched"), "cli_resumed")
    done = mtl("search", study, "--store", store.folder, "--trials", "2", "--workers", "1")
    assert done.code == 0, done.err
    return study


def contents(store: Store) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(store.studies.rglob("*"))
        if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("command", ["search", "evaluate", "compare", "promote"])
def test_changed_settings_are_refused_with_what_changed(
    store: Store, searched: Path, command: str
) -> None:
    before = contents(store)
    changed = ["--set", "train.lr={low: 0.001, high: 0.2, log: true}", "--set", "train.epochs=3"]
    done = mtl(command, searched, "--store", store.folder, *changed)
    check_refused(done, ("cli_resumed", "- train.lr: was range", "- train.epochs: was 2, now 3",
                         "--fresh"))  # fmt: skip
    assert contents(store) == before


def test_changed_data_are_refused_with_what_changed(
    store: Store, searched: Path, tmp_path: Path
) -> None:
    before = contents(store)
    study = write_case(tmp_path, "cli_resumed", change=flip)
    for command in ("search", "evaluate", "compare", "promote"):
        done = mtl(command, study, "--store", store.folder)
        check_refused(done, ("- the content of the data: was", "--fresh"))
    assert contents(store) == before


def test_a_trial_that_does_not_exist_is_refused(store: Store, searched: Path) -> None:
    for command in ("evaluate", "train", "promote"):
        done = mtl(command, searched, "--store", store.folder, "--trial", "7")
        check_refused(done, ("no finished trial 7", "0 to 1"))


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused(store: Store, searched: Path) -> None:
    lock = store.lock("study-cli_resumed").lock_file
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for words in (["search", "--trials", "3"], ["search", "--fresh"], ["train"], ["compare"]):
            done = mtl(words[0], searched, "--store", store.folder, *words[1:])
            assert done.code == 2
            assert "Another command is writing to the study cli_resumed" in done.err
            assert "`mtl show`" in done.err
        # Reading goes on meanwhile.
        assert mtl("show", searched, "--store", store.folder).code == 0
        assert mtl("evaluate", searched, "--store", store.folder).code == 0
    finally:
        holder.communicate(timeout=30)
    assert len(list(store.studies.glob("cli_resumed*"))) == 2  # its folder and its journal


TRAINING = ["search", "train", "evaluate", "compare", "group"]


@pytest.mark.parametrize("command", TRAINING)
def test_a_gpu_that_is_not_here_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    study, store = write_case(tmp_path), tmp_path / "store"
    done = mtl(command, study, "--store", store, "--device", "cuda")
    assert done.code == 2
    assert done.err.startswith("mtl: `--device cuda` needs a GPU. Found none: ")
    assert done.err.endswith("Or train with `--device cpu`.\n")
    assert len(done.err.splitlines()) == 1
    assert not store.exists()


@pytest.mark.parametrize("command", TRAINING)
def test_an_unknown_device_is_refused(tmp_path: Path, command: str) -> None:
    done = mtl(command, write_case(tmp_path), "--device", "gpu")
    assert done.code == 2
    assert "argument --device: invalid choice: 'gpu'" in done.err
