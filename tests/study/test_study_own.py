"""What a study may name of the user's own, and what is said where it does not fit."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_texts import small

from pipeline.errors import Fault, StudyError
from pipeline.study.loading import Study, parse_study
from pipeline.study.own import is_own

TRUNKS = """
import torch
from torch import nn
from pipeline.models.sharing import Sharing
from pipeline.models.layers import Linear, MemberLayer

class Stock(nn.Module):
    def __init__(self, n_features, width=7):
        super().__init__()
        self.layer = nn.Linear(n_features, width)
    def forward(self, x):
        return self.layer(x)

class Flat(Stock):
    def forward(self, x):
        return self.layer(x).sum(1)

class Sound(Sharing):
    one_read = True
    def __init__(self, architecture, n_members, n_features, dtype):
        super().__init__(architecture, n_members, n_features, dtype)
        self.width = 4
        self.layer = Linear(n_members, n_features, self.width, dtype)
    def forward(self, features, rates):
        return [self.layer(features)]

class OneRead(Sound):
    one_read = False

class WrongWidth(Sound):
    def __init__(self, *given):
        super().__init__(*given)
        self.width = 9

class NoMembers(Sound):
    def __init__(self, architecture, n_members, n_features, dtype):
        super().__init__(architecture, n_members, n_features, dtype)
        self.bias = nn.Parameter(torch.zeros(4))

class Undrawn(Sound):
    def __init__(self, architecture, n_members, n_features, dtype):
        super().__init__(architecture, n_members, n_features, dtype)
        self.scale = nn.Parameter(torch.ones(n_members, 1, 4))

class Unfinished(Sharing):
    pass

def function():
    pass
"""
TASKS = """
import numpy as np
from pipeline.tasks.base import Kind
from pipeline.tasks.regression import Regression

class Sound(Regression):
    pass

class Unfinished(Kind):
    metrics = Regression.metrics

def sound(target, answer):
    return np.abs(target - answer).max()
sound.higher_is_better = False

def no_direction(target, answer):
    return 0.0

class Counted:
    higher_is_better = True
    reads = "probabilities"
    def __call__(self, target, chances, weight=None):
        return np.average(chances[np.arange(len(target)), target.astype(int)], weights=weight)

def wrong(target):
    return 0.0
wrong.higher_is_better = True

def read_wrong(target, answer):
    return 0.0
read_wrong.higher_is_better = True
read_wrong.reads = "logits"

number = 3
"""
WEIGHTS = """
import torch
from pipeline.training.weighting.base import Weighting

class Sound(Weighting):
    def weigh(self, step):
        return step.active.to(step.losses)

class Unfinished(Weighting):
    pass

class Careless(Weighting):
    def weigh(self, step):
        return torch.ones_like(step.losses)

class Mixed(Weighting):
    def weigh(self, step):
        return step.active * step.losses / step.losses.sum()

class Flat(Weighting):
    def weigh(self, step):
        return step.losses.sum(1)
"""
BROKEN = "x = 1\n\nraise ValueError('no luck')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules of the user's; a study in it, read from a working directory beside."""
    study, work = tmp_path / "study", tmp_path / "work"
    study.mkdir()
    work.mkdir()
    for name, text in (("own_trunks", TRUNKS), ("own_tasks", TASKS), ("own_weights", WEIGHTS),
                       ("own_broken", BROKEN)):  # fmt: skip
        (study / f"{name}.py").write_text(text)
    (work / "own_elsewhere.py").write_text(TASKS)
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield study
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def read(folder: Path, **sections: Any) -> Study:
    return parse_study(small(**sections), folder)


def faults(folder: Path, **sections: Any) -> list[Fault]:
    with pytest.raises(StudyError) as caught:
        read(folder, **sections)
    return list(caught.value.faults)


def regression(**values: Any) -> dict[str, Any]:
    """The task `b` of the small study is a number."""
    tasks: dict[str, Any] = dict(yaml.safe_load(small())["tasks"])
    return {"tasks": {**tasks, "b": {"kind": "regression", "target": "v", **values}}}


def test_a_sound_study_of_own_code(folder: Path) -> None:
    study = read(
        folder,
        model={"sharing": "own_trunks:Sound"},
        weights={"strategy": "own_weights:Sound", "options": {"power": {"low": 0, "high": 2}}},
        **regression(kind="own_tasks:Sound", metric="own_elsewhere:sound"),
    )
    assert study.spec.model.sharing == "own_trunks:Sound"
    assert study.notes == ()


def test_a_study_without_own_code_imports_nothing_of_the_folder(folder: Path) -> None:
    before = list(sys.path)
    read(folder)
    assert sys.path == before


def test_a_stock_trunk_is_told(folder: Path) -> None:
    choices = {"choices": ["mmoe", "own_trunks:Stock"]}
    study = read(folder, model={"sharing": choices, "options": {"width": {"low": 2, "high": 9}}})
    (note,) = study.notes
    assert "`own_trunks:Stock`" in note
    assert "array of one" in note
    assert list(study.ranges)[:2] == ["model.sharing", "model.options.width"]
    centre = study.at({**study.centre(), "model.sharing": "own_trunks:Stock"})
    assert centre.model.options == {"width": 6}


CASES: list[tuple[str, str, tuple[str, ...]]] = [
    ("model", "own_trunks:Stok", ("does not have", "Found Stok", "Did you mean `Stock`")),
    ("model", "own_trunk:Stock", ("cannot be found", "own_trunk.py", "/study", "/work")),
    ("model", "own_broken:Stock", ("fails when imported", "no luck", "in line 3")),
    ("model", "own_trunks:", ("one colon",)),
    ("model", "a:b:c", ("one colon",)),
    ("model", "own_trunks:function", ("class of torch.nn.Module",)),
    ("model", "own_trunks:Unfinished", ("leaves out __init__, forward",)),
    ("model", "own_trunks:Flat", ("(2, width)", "gave (2,)")),
    ("model", "own_trunks:OneRead", ("list of 2",)),
    ("model", "own_trunks:WrongWidth", ("(2, 3, 9)", "not (2, 3, 4)")),
    ("model", "own_trunks:NoMembers", ("first axis of sharing.bias", "(4,)")),
    ("model", "own_trunks:Undrawn", ("draws sharing.scale",)),
    ("kind", "own_tasks:sound", ("class of pipeline.tasks.base.Kind",)),
    ("kind", "own_tasks:Unfinished", ("leaves out", "row_loss")),
    ("strategy", "own_weights:Unfinished", ("leaves out weigh",)),
    ("strategy", "own_weights:Careless", ("0 to a task that is not active",)),
    ("strategy", "own_weights:Mixed", ("other members",)),
    ("strategy", "own_weights:Flat", ("not (2,)",)),
    ("strategy", "own_tasks:sound", ("a class of pipeline.training",)),
    ("metric", "own_tasks:no_direction", ("`higher_is_better`",)),
    ("metric", "own_tasks:number", ("must be a function",)),
    ("metric", "own_tasks:wrong", ("raised TypeError",)),
    ("metric", "own_tasks:read_wrong", ("`reads`",)),
]


@pytest.mark.parametrize(("place", "name", "words"), CASES)
def test_what_does_not_fit_is_told_once(
    folder: Path, place: str, name: str, words: tuple[str, ...]
) -> None:
    sections = {
        "model": {"model": {"sharing": name}},
        "strategy": {"weights": {"strategy": name}},
    }.get(place) or regression(**{place: name})
    key = {"model": "model.sharing", "strategy": "weights.strategy"}.get(place, f"tasks.b.{place}")
    (fault,) = faults(folder, **sections)
    assert fault.key == key
    assert all(word in str(fault) for word in words), str(fault)


def test_faults_of_own_code_are_told_with_the_others(folder: Path) -> None:
    found = faults(
        folder,
        model={"sharing": "own_trunks:Nothing", "dropout": 2},
        **regression(kind="own_tasks:Sound", metric="accuracy"),
    )
    assert {fault.key for fault in found} == {"model.sharing", "model.dropout", "tasks.b.metric"}


def test_keys_that_nobody_reads_are_told(folder: Path) -> None:
    stock = {"sharing": "own_trunks:Stock", "layers": [3], "dropout": 0.1}
    assert {fault.key for fault in faults(folder, model=stock)} == {"model.layers", "model.dropout"}
    (fault,) = faults(folder, model={"options": {"width": 3}})
    assert "a sharing of your own only" in str(fault)
    (fault,) = faults(folder, **regression(options={"q": 0.5}))
    assert fault.key == "tasks.b.options"
    (fault,) = faults(folder, model={"sharing": "own_trunks:Sound", "experts": 3})
    assert "not read by `own_trunks:Sound`" in str(fault)


def test_a_module_hidden_by_another_is_told(folder: Path) -> None:
    (folder / "json.py").write_text("class Trunk: pass\n")
    (fault,) = faults(folder, model={"sharing": "json:Trunk"})
    assert "hides" in str(fault)
    assert "Rename json.py" in str(fault)


def test_names_of_the_balance_prefix_are_of_the_catalogue() -> None:
    assert is_own("my.module:Name")
    assert not is_own("balance:upgrad")
    assert not is_own("mmoe")
