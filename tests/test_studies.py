"""What is shipped works: the studies pass `check`, and the commands of the texts are commands."""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cases import mtl

from pipeline.cli.parser import make_parser
from pipeline.study.loading import load_study, parse_study

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
TEXTS = [ROOT / "README.md", *sorted((ROOT / "studies").glob("*.md"))]
NEEDS_NO_FILE = {"quickstart", "docstrings"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Yields where each `mtl` command stands, and the command: blocks, lines, the Makefile."""
    for path in TEXTS:
        text = path.read_text("utf-8")
        for line in "\n".join(blocks(text, "(?:bash|sh)?")).splitlines():
            if line.startswith("mtl "):
                yield path.name, line
        # In a sentence, a command without arguments is only named.
        yield from ((path.name, found) for found in re.findall(r"`(mtl \w+ [^`\n]+)`", text))
    for line in (ROOT / "Makefile").read_text("utf-8").splitlines():
        found = re.search(r"\$\(BIN\)/(mtl .*)", line)
        if found:
            yield "Makefile", found[1].rstrip("'").replace("$(STUDY)", "study.yaml")


COMMANDS = list(dict.fromkeys(commands()))


def words_of(command: str) -> list[str]:
    """Returns the words after `mtl`, without what the shell or a reader takes away."""
    return shlex.split(re.split(r"\s+#|\s\||\s{3,}", command)[0])[1:]


def test_there_is_something_to_try() -> None:
    assert {path.stem for path in STUDIES} >= {
        "quickstart", "adult", "yeast_multilabel", "parkinsons",
    }  # fmt: skip
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_can_be_read(path: Path) -> None:
    study = load_study(path)
    assert study.spec.name == path.stem
    assert study.ranges, "a study that is shipped searches something"
    assert all(source.about or source.builtin for source in study.spec.sources.values()), (
        "a missing file's message says where the data comes from"
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_passes_check_on_its_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MTL_DATA", raising=False)
    words = ["check", path, "--data-rows", "2000"]
    if path.stem not in NEEDS_NO_FILE:
        if not SHARED.is_dir():
            pytest.skip(f"needs the shared data in {SHARED}, which is absent")
        words += ["--data", SHARED]
    done = mtl(*words)
    assert done.code == 0, done.err
    assert f"{path.stem} is valid." in done.out


def test_the_quickstart_needs_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    done = mtl("check", ROOT / "studies" / "quickstart.yaml")
    assert done.code == 0, done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_commands_of_the_texts_are_commands(place: str, command: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            make_parser().parse_args(words_of(command))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    assert code == 0, f"{place}: {command}\n{said.getvalue()}"


@pytest.mark.parametrize(
    "text",
    [block for path in TEXTS for block in blocks(path.read_text("utf-8"), "yaml")],
)
def test_studies_of_the_texts_are_studies(text: str) -> None:
    if "tasks:" in text and "name:" in text:
        assert parse_study(text).spec.tasks


@pytest.mark.parametrize(
    "text",
    [block for path in TEXTS for block in blocks(path.read_text("utf-8"), "python")],
)
def test_python_of_the_texts_compiles_and_imports_public_names(text: str) -> None:
    compile(text, "README.md", "exec")
    for names in re.findall(r"^from pipeline import (.+)$", text, re.MULTILINE):
        scope: dict[str, object] = {}
        exec(f"from pipeline import {names}", scope)
        assert {name.strip() for name in names.split(",")} <= {*scope}
