from pathlib import Path

import numpy as np
import pytest

from pipeline.data.check import check_data
from pipeline.data.draft import draft_study
from pipeline.data.prepare import prepare_data
from pipeline.study.loading import parse_study

pytestmark = pytest.mark.shared_data

_ADULT = """
name: adult
sources: {people: {path: adult.csv.gz, drop: [fnlwgt, relationship]}}
tasks:
  income: {kind: binary, target: income, positive: ">50K"}
  marital: {kind: multiclass, target: marital_status}
  hours: {kind: regression, target: hours_per_week}
split: {column: split, valid: 0.1}
"""

_YEAST = f"""
name: yeast
sources: {{genes: {{path: yeast.csv.gz}}}}
tasks: {{labels: {{kind: multilabel, target: [{", ".join(f"Class{i}" for i in range(1, 15))}]}}}}
split: {{column: split, valid: 0.1}}
"""

_PARKINSONS = """
name: parkinsons
sources: {voices: {path: parkinsons.csv.gz}}
tasks:
  motor: {kind: regression, target: motor_UPDRS}
  total: {kind: regression, target: total_UPDRS}
split: {train: 0.6, valid: 0.2, test: 0.2, group: subject}
"""


def test_adult(shared_data: Path, tmp_path: Path) -> None:
    prepared = prepare_data(parse_study(_ADULT).spec, tmp_path, tmp_path / "cache", shared_data)
    sizes = prepared.report.n_rows
    assert sizes["train"] + sizes["valid"] == 32_561
    assert sizes["test"] == 16_281
    others = {"income", "marital_status", "hours_per_week", "split", "fnlwgt", "relationship"}
    assert others.isdisjoint(prepared.encoder.columns)
    assert len(prepared.encoder.columns) == 10
    assert prepared.report.sources["people"]["n_rows"] == 48_842
    train = prepared.parts["train"].numeric.astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-4)


def test_yeast(shared_data: Path, tmp_path: Path) -> None:
    prepared = prepare_data(parse_study(_YEAST).spec, tmp_path, tmp_path / "cache", shared_data)
    assert prepared.parts["test"].targets["labels"].shape == (917, 14)
    assert prepared.encoder.n_numeric == 103


def test_parkinsons_keeps_a_person_in_one_part(shared_data: Path, tmp_path: Path) -> None:
    prepared = prepare_data(
        parse_study(_PARKINSONS).spec, tmp_path, tmp_path / "cache", shared_data
    )
    people = [set(part.groups.tolist()) for part in prepared.parts.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 42
    assert "subject" not in prepared.encoder.columns


@pytest.mark.parametrize(
    ("table", "targets"),
    [
        ("adult.csv.gz", ["income", "marital_status", "hours_per_week"]),
        ("parkinsons.csv.gz", ["motor_UPDRS", "total_UPDRS"]),
        ("yeast.csv.gz", ["Class1", "Class2"]),
        ("news.csv.gz", ["category", "summary"]),
        ("qa.jsonl.gz", ["qtype", "question:abstractive"]),
        ("csl_zh.csv.gz", ["category", "discipline", "title"]),
        ("scitldr_train.jsonl.gz", ["tldr"]),
    ],
)
def test_drafts_pass_check(shared_data: Path, tmp_path: Path, table: str, targets: list) -> None:
    study = parse_study(draft_study(shared_data / table, targets, folder=tmp_path), tmp_path)
    assert check_data(study.spec, tmp_path)[0] == []
