from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_texts import EXAMPLE, small

from pipeline.errors import InputError, StudyError
from pipeline.study.loading import Study, load_study, parse_setting, parse_study
from pipeline.study.ranges import Choices, Range, label


def test_the_example_is_read_with_its_ranges_in_order() -> None:
    study = parse_study(EXAMPLE)
    assert list(study.ranges) == [
        "model.dropout",
        "weights.values.marital",
        "weights.values.hours",
        "train.lr",
        "train.weight_decay",
    ]
    assert study.ranges["train.lr"] == Range(1e-4, 1e-2, log=True)
    assert study.spec.train.lr == pytest.approx(1e-3)
    assert study.spec.model.dropout == 0.25
    assert study.spec.tasks["income"].positive == ">50K"
    assert study.spec.split_of("people").column == "split"
    assert study.spec.source_of("hours") == "people"


def test_the_first_trial_has_the_centres_and_equal_weights() -> None:
    study = parse_study(EXAMPLE)
    spec = study.at(study.centre())
    assert spec.weights.values == {"income": 1, "marital": 1, "hours": 1}
    assert spec.train.weight_decay == pytest.approx((1e-6 * 1e-1) ** 0.5)


def test_the_first_trial_weighs_searched_tasks_like_the_given_one() -> None:
    values = {"a": 2.0, "b": {"low": 0.5, "high": 50.0, "log": True}}
    study = parse_study(small(weights={"values": values}))
    assert study.at(study.centre()).weights.values == {"a": 2.0, "b": 2.0}


def test_ratios_are_searched_by_default_and_not_with_equal_weights() -> None:
    assert parse_study(small()).ranges == {"weights.values.b": Range(0.1, 10.0, log=True)}
    assert not parse_study(small(weights={"strategy": "equal"})).ranges


def test_tasks_and_labels_may_be_named_low_and_high() -> None:
    tasks = {
        "low": {
            "kind": "binary", "target": "y", "class_weights": {"low": 1.0, "high": 2.0}
        },
        "high": {"kind": "regression", "target": "z"},
    }  # fmt: skip
    study = parse_study(small(tasks=tasks, weights={"values": {"low": 1, "high": 2}}))
    assert study.spec.weights.values == {"low": 1, "high": 2}
    assert study.spec.tasks["low"].class_weights == {"low": 1.0, "high": 2.0}


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    text = """
name: s
sources: {people: {path: people.csv}}
tasks: {a: {kind: binary, target: a}}
train: {lr: 1e-4, weight_decay: {low: 1e-6, high: 1e-2, log: true}, l2: {choices: [0, 1e-3]}}
"""
    study = parse_study(text)
    assert study.spec.train.lr == 1e-4
    assert study.ranges["train.weight_decay"] == Range(1e-6, 1e-2, log=True)
    assert study.ranges["train.l2"] == Choices((0.0, 1e-3))


def test_yaml_may_merge_mappings() -> None:
    text = """
name: s
sources: {people: &people {path: a.csv, drop: [x]}, others: {<<: *people, path: b.csv}}
tasks: {a: {kind: binary, target: a, source: people}}
"""
    assert parse_study(text).spec.sources["others"].drop == ["x"]


RANGES: Mapping[str, st.SearchStrategy[Any]] = {
    "model.dropout": st.tuples(st.floats(0, 0.4), st.floats(0.5, 0.99)),
    "model.embedding": st.tuples(st.integers(1, 4), st.integers(5, 9)),
    "train.lr": st.tuples(st.floats(1e-6, 1e-3), st.floats(1e-2, 1.0)),
    "train.epochs": st.tuples(st.integers(1, 9), st.integers(10, 99)),
    "train.clip": st.tuples(st.floats(1e-3, 1.0), st.integers(2, 9)),
    "weights.values.a": st.tuples(st.floats(0.1, 1), st.floats(2, 9)),
}
CHOICES: Mapping[str, list[Any]] = {
    "model.layers": [[], [8], [64, 64]],
    "model.norm": ["none", "layer", "batch"],
    "train.patience": [None, 3],
    "train.optimizer": ["adam", "sgd"],
}


@st.composite
def searched_studies(draw: st.DrawFn) -> str:
    sections: dict[str, Any] = {"weights": {"values": {"a": 1, "b": 1}}}
    for path in draw(st.sets(st.sampled_from([*RANGES, *CHOICES]), min_size=1)):
        section, *middle, key = path.split(".")
        place = sections.setdefault(section, {})
        for name in middle:
            place = place.setdefault(name, {})
        if path in CHOICES:
            place[key] = {"choices": draw(st.permutations(CHOICES[path]))}
        else:
            low, high = draw(RANGES[path])
            place[key] = {"low": low, "high": high, "log": draw(st.booleans())}
            place[key]["log"] &= low > 0
    return small(**sections)


def params_of(study: Study, seed: int) -> dict[str, Any]:
    random = Random(seed)
    return {path: label(found.sample(random)) for path, found in study.ranges.items()}


@given(searched_studies(), st.integers())
def test_every_sampled_and_central_value_is_accepted(text: str, seed: int) -> None:
    study = parse_study(text)
    assert study.ranges
    for params in (study.centre(), params_of(study, seed)):
        assert set(params) == set(study.ranges)
        spec = study.at(params)
        for path, value in params.items():
            found: Any = spec
            for key in path.split("."):
                found = found[key] if isinstance(found, Mapping) else getattr(found, key)
            assert label(found) == value


def test_settings_replace_values_and_ranges() -> None:
    overrides = dict([parse_setting("train.lr=1e-2"), parse_setting("train.augment.noise=0.1")])
    study = parse_study(EXAMPLE, overrides=overrides)
    assert study.spec.train.lr == 0.01
    assert study.spec.train.augment.noise == 0.1
    assert "train.lr" not in study.ranges


def test_a_setting_may_be_a_range() -> None:
    key, value = parse_setting("train.epochs={low: 2, high: 6}")
    assert parse_study(small(), overrides={key: value}).ranges["train.epochs"] == Range(
        2, 6, integer=True
    )


@pytest.mark.parametrize("text", ["train.lr", "=3", "train.lr=[1"])
def test_a_setting_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StudyError):
        parse_setting(text)


def test_a_setting_inside_a_value_is_refused() -> None:
    with pytest.raises(StudyError, match=r"`name.x` cannot be set: `name` is not a section"):
        parse_study(small(), overrides={"name.x": 3})


def test_a_file_is_read_and_its_folder_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(small())
    study = load_study(path, data_dir=tmp_path / "data")
    assert (study.folder, study.data_dir, study.text) == (tmp_path, tmp_path / "data", small())


def test_a_missing_or_binary_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.yaml cannot be read.*mtl init"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary.yaml cannot be read"):
        load_study(tmp_path / "binary.yaml")


def test_the_error_names_the_file_and_counts_its_faults(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(small(seed=-1, sede=3))
    with pytest.raises(StudyError, match=r"s.yaml has 2 faults:") as caught:
        load_study(tmp_path / "s.yaml")
    assert caught.value.exit_code == 2
