"""Strategies in a study file: searched ones, their options, and those that need an extra."""

import re
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from study_texts import small

from pipeline.errors import StudyError
from pipeline.study import catalogue
from pipeline.study.catalogue import CATALOGUE, read_params
from pipeline.study.loading import parse_study

WITHOUT = {
    "balance:upgrad": ("qpsolvers", 'pip install "mtl-pipeline[balance]"'),
    "balance:mgda": ("torchjd", 'pip install "mtl-pipeline[balance]"'),
    "balance:cagrad": ("cvxpy", 'pip install "torchjd[cagrad]"'),
}


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(
        catalogue, "find_spec", lambda name: None if name in modules else find_spec("json")
    )


@pytest.mark.parametrize("name", WITHOUT)
def test_a_strategy_whose_extra_is_missing_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module, command = WITHOUT[name]
    hide(monkeypatch)
    parse_study(small(weights={"strategy": name}))
    hide(monkeypatch, module)
    with pytest.raises(StudyError) as caught:
        parse_study(small(weights={"strategy": {"choices": ["equal", name]}}))
    (fault,) = caught.value.faults
    assert fault.key == "weights.strategy.choices.1"
    assert f"needs {module}, not installed" in str(fault)
    assert f"Install with `{command}`." in str(fault)


def test_only_what_needs_an_extra_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torchjd", "qpsolvers", "quadprog", "cvxpy", "clarabel")
    refused = {name for name, entry in CATALOGUE["strategy"].items() if entry.missing()}
    assert refused == {name for name in CATALOGUE["strategy"] if name.startswith("balance:")}


def test_ratios_are_searched_where_fixed_is_one_of_the_strategies() -> None:
    study = parse_study(
        small(weights={"strategy": {"choices": ["uw_so", "fixed"]}, "low": 0.5, "high": 2.0,
                       "temperature": {"low": 0.1, "high": 100, "log": True}})
    )  # fmt: skip
    assert list(study.ranges) == [
        "weights.strategy", "weights.temperature", "weights.values.b",
    ]  # fmt: skip
    assert study.spec.weights.strategy == "uw_so"  # the first choice is the centre
    random = Random(0)
    drawn = study.at({path: found.sample(random) for path, found in study.ranges.items()})
    assert 0.5 <= drawn.weights.values["b"] <= 2.0
    assert 0.1 <= drawn.weights.temperature <= 100


def test_the_guide_to_studies_names_every_strategy_with_what_it_reads() -> None:
    text = (Path(__file__).parents[2] / "studies" / "README.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row for row in rows}
    for name, entry in CATALOGUE["strategy"].items():
        family, _, method = name.partition(":")
        row = told[f"{family}:NAME" if method else name]
        assert method in row[1]
        assert set(re.findall(r"`(\w+)`", row[2])) == {*entry.options}


def test_values_that_a_trial_does_not_read_are_left_out() -> None:
    values = {
        "weights.values.b": 3.0, "weights.temperature": 2.0, "weights.mu": 0.5, "train.lr": 0.1,
        "train.momentum": 0.9, "tasks.b.delta": 1.0,
    }  # fmt: skip
    assert read_params(values) == values  # nothing is known to be unread
    dwa = {"weights.strategy": "dwa", "train.optimizer": "adam", **values}
    assert [path for path in dwa if path not in read_params(dwa)] == [
        "weights.values.b", "weights.mu", "train.momentum",
    ]  # fmt: skip
    fixed = {**dwa, "weights.strategy": "fixed", "train.optimizer": "sgd"}
    assert [path for path in fixed if path not in read_params(fixed)] == [
        "weights.temperature", "weights.mu",
    ]  # fmt: skip


def test_no_ratio_is_searched_for_strategies_that_read_none() -> None:
    for strategy in ("famo", {"choices": ["equal", "dwa"]}):
        study = parse_study(small(weights={"strategy": strategy}))
        assert not [path for path in study.ranges if path.startswith("weights.values")]
        assert study.spec.weights.values == {}
