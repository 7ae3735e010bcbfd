import numpy as np
import pandas as pd

from pipeline.data import multidigits
from pipeline.data.assembling import build_prepared
from pipeline.data.hashing import frame_digest
from pipeline.study.loading import parse_study


def test_the_table_is_the_same_on_every_machine() -> None:
    table = multidigits.read()
    assert frame_digest(table)[:16] == "ce3881630874ac80"
    assert list(multidigits.read(0)) == list(table) == list(multidigits.COLUMNS)
    pd.testing.assert_frame_equal(multidigits.read(5), table.head(5))


def test_labels_belong_to_the_pictures() -> None:
    table = multidigits.read()
    assert (table["total"] == table["left"] + table["right"]).all()
    assert table["split"].value_counts().to_dict() == multidigits.N_ROWS
    for side in ("left", "right"):
        assert set(table[side]) == set(range(10))
    pixels = table.filter(regex=r"^p\d+$").to_numpy()
    assert pixels.shape[1] == multidigits.HEIGHT * multidigits.WIDTH
    assert pixels.min() == 0
    assert pixels.max() == 16


def test_a_digit_image_is_used_in_one_part_only() -> None:
    parts = multidigits._image_parts(1797, multidigits.Random(0))
    used = np.concatenate(list(parts.values()))
    assert sorted(used.tolist()) == list(range(1797))


def test_it_prepares_without_duplicates() -> None:
    spec = parse_study(
        "name: d\nsources: {d: {builtin: multidigits}}\nsplit: {column: split}\n"
        "tasks: {left: {kind: multiclass, target: left}, total: {kind: regression, target: total}}"
    ).spec
    prepared = build_prepared(spec, {"d": multidigits.read()}, {})
    assert prepared.report.duplicates == {"train/valid": 0, "train/test": 0, "valid/test": 0}
    assert {"left", "total", "split"}.isdisjoint(prepared.encoder.columns)
