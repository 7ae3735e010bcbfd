"""The command `mtl`, in this process where that shows the same."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_cases import mtl, people, write_case

from pipeline.cli import main

COMMANDS = ["init", "check", "prepare", "train", "evaluate", "search", "show", "compare",
            "promote", "rollback", "predict", "serve", "repair"]  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No store or data folder of the user's own, and a working folder that is nobody's."""
    monkeypatch.delenv("MTL_STORE", raising=False)
    monkeypatch.delenv("MTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_help_lists_every_command() -> None:
    done = mtl("--help")
    assert done.code == 0
    assert all(f"    {command} " in done.out for command in COMMANDS)
    for command in COMMANDS:
        assert mtl(command, "--help").code == 0


def test_help_answers_soon() -> None:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline.cli", "--help"], check=True,
                   capture_output=True, timeout=60)  # fmt: skip
    # What makes it soon is asserted from its imports (tests/test_house.py), not from a clock.
    print(f"mtl --help took {time.perf_counter() - started:.2f} s")


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    done = mtl("--version")
    assert (done.code, done.out.strip()) == (0, version("mtl-pipeline"))


def test_the_entry_point_is_main() -> None:
    from importlib.metadata import entry_points

    [entry] = entry_points(group="console_scripts", name="mtl")
    assert entry.load() is main


@pytest.mark.parametrize(
    "words",
    [[], ["serch"], ["search"], ["search", "s.yaml", "--trials", "0"],
     ["search", "s.yaml", "--timeout", "soon"], ["evaluate", "s.yaml", "--split", "train"]],
)  # fmt: skip
def test_a_command_line_that_is_wrong_is_told_by_its_grammar(words: list[str]) -> None:
    done = mtl(*words)
    assert done.code == 2
    assert done.out == ""
    assert "usage: mtl" in done.err


def test_the_schema_is_printed() -> None:
    found = mtl("check", "--schema").document
    assert {"name", "sources", "tasks", "train"} <= found["properties"].keys()


def test_check_needs_a_study_or_the_schema() -> None:
    done = mtl("check")
    assert done.code == 2
    assert "needs a study file" in done.err


@pytest.mark.parametrize("rows", ["50", "all"])
def test_check_shows_what_would_be_searched(tmp_path: Path, rows: str) -> None:
    done = mtl("check", write_case(tmp_path), "--data-rows", rows)
    assert done.code == 0, done.err
    assert "people is valid." in done.out
    assert "train.lr" in done.out
    assert f"{150 if rows == 'all' else 50} rows" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv", "study.yaml"]


def test_a_setting_takes_the_place_of_the_files_value(tmp_path: Path) -> None:
    file = write_case(tmp_path)
    assert "train.lr" in mtl("check", file, "--json").document["ranges"]
    settings = ["--set", "train.lr=0.01", "--set", "model.norm={choices: [none, layer]}"]
    found = mtl("check", file, "--json", *settings).document
    assert "train.lr" not in found["ranges"]
    assert "model.norm" in found["ranges"]
    assert {*found["sampled"][0]} == {*found["ranges"]}


def test_data_are_looked_up_in_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_case(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "people.csv").rename(tmp_path / "elsewhere" / "people.csv")
    assert mtl("check", file).code == 2
    assert mtl("check", file, "--data", tmp_path / "elsewhere").code == 0
    monkeypatch.setenv("MTL_DATA", str(tmp_path / "elsewhere"))
    assert mtl("check", file).code == 0


def test_a_drafted_study_passes_check(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    file = tmp_path / "new.yaml"
    words = ["--target", "bought", "--target", "size:regression", "-o", file]
    done = mtl("init", tmp_path / "people.csv", *words)
    assert done.code == 0, done.err
    assert f"mtl check {file}" in done.err
    assert mtl("check", file, "--data-rows", "all").code == 0
    before = file.read_text()
    again = mtl("init", tmp_path / "people.csv", *words)
    assert again.code == 2
    assert "exists already" in again.err
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("table", "target", "output", "words"),
    [
        ("nobody.csv", "bought", "new.yaml", "There is no table nobody.csv"),
        ("people.csv", "brought", "new.yaml", "Did you mean `bought`?"),
        ("people.csv", "bought:binry", "new.yaml", "Did you mean `binary`?"),
        ("people.csv", "bought", "none/new.yaml", "The folder of none/new.yaml does not exist"),
    ],
)
def test_what_cannot_be_drafted_is_refused(
    tmp_path: Path, table: str, target: str, output: str, words: str
) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    done = mtl("init", table, "--target", target, "-o", output)
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "new.yaml").exists()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    file = write_case(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "check", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
