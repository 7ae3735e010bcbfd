"""Code of the user's own, from a study file to a served model: the README's examples, run."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cli_cases import Done, mtl, people

from pipeline.serving.loading import load_model
from pipeline.tracking.store import open_store

README = Path(__file__).parents[1] / "pipeline" / "models" / "README.md"
FILE = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the README in a folder that this process works in, and forgets afterwards."""
    monkeypatch.delenv("MTL_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    people().to_csv("people.csv", index=False)
    for name, text in FILE.findall(README.read_text("utf-8")):
        Path(name).write_text(text, encoding="utf-8")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def run_block(number: int) -> list[Done]:
    """Runs a block of commands of the README."""
    lines = COMMANDS.findall(README.read_text("utf-8"))[number].splitlines()
    done = []
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "mtl"
        done.append(mtl(*words))
        assert done[-1].code == 0, f"{line}\n{done[-1].err}"
    return done


@pytest.mark.slow
def test_own_trunk_kind_and_metric_from_study_to_answers(folder: Path) -> None:
    check, *_ = run_block(0)
    assert "my_trunks:Scaled" in check.out
    assert "my_weights:Worst" in check.out
    assert "stock" not in check.out
    answers = pd.read_csv("answers.csv")
    frame = people()
    assert len(answers) == len(frame)
    # It was asked for the 90 % quantile: most sizes lie below.
    assert 0.75 < float((frame["size"] <= answers["size"]).mean()) <= 1.0
    compared = mtl("compare", "study.yaml", "--json").document
    rows = {row["kind"]: row for row in compared["rows"]}
    assert {"tuned", "linear", "boosting", "constant"} <= set(rows)
    assert all("my_tasks:pinball_90" in row["tasks"]["size"] for row in compared["rows"])
    best, constant = (rows[kind]["tasks"]["size"]["my_tasks:pinball_90"]
                      for kind in ("tuned", "constant"))  # fmt: skip
    assert best < constant
    code = next(Path("mlruns").rglob("carried/my_tasks.py"))
    assert "from pipeline" not in code.read_text()


@pytest.mark.slow
def test_a_stock_module_trains_member_by_member_and_says_so(folder: Path) -> None:
    search, *_ = run_block(1)
    assert "`my_stock:Plain` is a stock torch module" in search.err
    assert mtl("check", "stock.yaml").out.count("is a stock torch module") == 1
    model = load_model("stock_trunk@champion", open_store(folder / "mlruns").tracking_uri)
    frame = people().head(20)
    answers = model.predict(frame)
    # The file may change or go: the model carries what it was trained with.
    (folder / "my_stock.py").write_text("raise RuntimeError('changed')")
    again = load_model("stock_trunk@champion", open_store(folder / "mlruns").tracking_uri)
    pd.testing.assert_frame_equal(again.predict(frame), answers)
    saved = pd.read_csv("stock_answers.csv").head(20)
    pd.testing.assert_frame_equal(answers, saved, check_dtype=False, rtol=1e-6)
