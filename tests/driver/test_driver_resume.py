import json
from dataclasses import replace
from pathlib import Path

import pytest
from driver_cases import SMALL, small_frame, small_study

from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.resume import check_resume, flat_settings, launch_settings
from pipeline.errors import ResumeError
from pipeline.study.loading import Study, parse_study


def resume(study: Study, changed: Study, prepared: Prepared, now: Prepared | None = None) -> None:
    launched = launch_settings(study, prepared)
    check_resume(study.spec.name, launched, launch_settings(changed, now or prepared))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"search__trials": 40},
        {"search__keep": 7},
        {"promote__model": "other"},
        {"promote__gates": {"min_gain": 0.5}},
        {"sources__rows__path": "moved/rows.csv"},
        {"sources__rows__about": "from the archive"},
    ],
    ids=str,
)
def test_what_may_change(study: Study, prepared: Prepared, change: dict[str, object]) -> None:
    resume(study, small_study(**change), prepared)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, "seed: was 3, now 4"),
        ({"train__epochs": 5}, "train.epochs: was 3, now 5"),
        ({"train__lr": {"low": 0.001, "high": 0.2, "log": True}},
         "train.lr: was range 0.001 to 0.1 (log), now range 0.001 to 0.2 (log)"),
        ({"train__lr": 0.01}, "train.lr: was range 0.001 to 0.1 (log), now 0.01"),
        ({"model__dropout": {"low": 0.0, "high": 0.5, "step": 0.1}}, "(step 0.1)"),
        ({"model__layers": [8]}, "model.layers: was [4], now [8]"),
        ({"train__weight_decay": {"low": 0.1, "high": 0.2}},
         "train.weight_decay: was 0.0, now range 0.1 to 0.2"),
        ({"search__sampler": "random"}, "search.sampler: was tpe, now random"),
        ({"search__pruner": "median"}, "search.pruner: was none, now median"),
        ({"search__cohort": 8}, "search.cohort: was 4, now 8"),
        ({"search__population": 4}, "search.population: was 2, now 4"),
        ({"tasks__size__loss": "huber"}, "tasks.size.loss: was squared, now huber"),
        ({"tasks__more": {"kind": "regression", "target": "b"}},
         "tasks.more.kind: was nothing, now regression"),
        ({"sources__rows__drop": ["a"]}, "sources.rows.drop: was [], now ['a']"),
        ({"split__valid": 0.1, "split__train": 0.7}, "split.valid: was 0.2, now 0.1"),
    ],
    ids=str,
)  # fmt: skip
def test_what_may_not_change(
    study: Study, prepared: Prepared, change: dict[str, object], told: str
) -> None:
    with pytest.raises(ResumeError) as error:
        resume(study, small_study(**change), prepared)
    assert told in str(error.value)
    assert "`--fresh`" in str(error.value)


def test_every_change_is_told_at_once(study: Study, prepared: Prepared) -> None:
    with pytest.raises(ResumeError) as error:
        resume(study, small_study(seed=9, train__epochs=5, search__trials=99), prepared)
    lines = [line for line in str(error.value).splitlines() if line.startswith("  - ")]
    assert [line.split(":")[0] for line in lines] == ["  - seed", "  - train.epochs"]


def test_other_data_is_refused(study: Study, prepared: Prepared, tmp_path: Path) -> None:
    frame = small_frame()
    frame.loc[0, "size"] += 1
    other = prepare_data(study.spec, Path(), tmp_path, tables={"rows": frame})
    with pytest.raises(ResumeError, match="the content of the data: was"):
        resume(study, study, prepared, other)


def test_the_same_data_elsewhere_is_taken(study: Study, prepared: Prepared, tmp_path: Path) -> None:
    again = prepare_data(study.spec, Path(), tmp_path, tables={"rows": small_frame()})
    assert again.folder != prepared.folder
    resume(study, study, prepared, again)


def test_what_is_written_otherwise_but_means_the_same_is_taken(
    study: Study, prepared: Prepared
) -> None:
    """Comments, the order of keys and defaults spelled out are no change."""
    text = "# a note\n" + SMALL.replace(
        "{layers: [4], dropout", "{norm: none, layers: [4], dropout"
    )
    resume(study, parse_study(text), prepared)


def test_settings_survive_json(study: Study, prepared: Prepared) -> None:
    settings = launch_settings(study, replace(prepared, data_digest="d"))
    assert json.loads(json.dumps(settings)) == settings
    assert settings["the content of the data"] == "d"


def test_a_tree_becomes_dotted_paths() -> None:
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}}
    assert flat_settings(tree) == {"a.b": 1, "a.c.d": [2], "e": {}}
