"""What a row is known by in another study: its content, and its id where it has one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.hashing import id_hashes
from pipeline.data.prepare import open_prepared, prepare_data
from pipeline.data.prepared import PARTS, Prepared

ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def whole(prepared: Prepared) -> set[int]:
    return {int(mark) for part in prepared.parts.values() for mark in part.all_marks}


def study(folder: Path, spec: Any, table: pd.DataFrame, **more: pd.DataFrame) -> Prepared:
    return prepare_data(spec, folder, folder / "cache", tables={"people": table, **more})


@given(st.lists(ids, unique=True, max_size=20), ids)
def test_an_id_has_one_hash_in_any_array(names: list[str], longer: str) -> None:
    short = np.array([name.encode() for name in names], dtype="S40")
    wide = np.array([*(name.encode() for name in names), longer.encode() * 3], dtype=np.bytes_)
    found = id_hashes(short)
    assert len(np.unique(found)) == len(names)
    np.testing.assert_array_equal(found, id_hashes(wide)[: len(names)])


def test_a_million_ids_are_kept_apart() -> None:
    names = np.char.add("row-", np.arange(1_000_000).astype(str)).astype(np.bytes_)
    assert len(np.unique(id_hashes(names))) == len(names)


def test_marks_survive_another_split_order_and_seed(
    small_spec: Callable, people: Callable, tmp_path: Path
) -> None:
    table = people(150)
    first = study(tmp_path, small_spec(), table)
    assert len(whole(first)) == 150
    assert first.parts["train"].all_marks is first.parts["train"].all_marks
    shuffled = table.sample(frac=1, random_state=1)[table.columns[::-1]]
    other = study(tmp_path, small_spec(seed=7), shuffled)
    assert whole(other) == whole(first)
    part = np.array(["test"] * 50 + ["train"] * 80 + ["valid"] * 20)
    named = study(tmp_path, small_spec(split__column="part"), table.assign(part=part))
    assert whole(named) == whole(first)
    again = named.parts["test"].known_in(first.parts["train"].all_marks)
    assert again.sum() == np.isin(named.parts["test"].ids, named.parts["test"].ids[again]).sum() > 0


def test_a_row_is_known_by_its_id_where_the_table_changed(
    small_spec: Callable, people: Callable, tmp_path: Path
) -> None:
    table = people(100).assign(name=[f"p{n}" for n in range(100)])
    spec = small_spec(sources__people__id="name")
    first = study(tmp_path, spec, table)
    changed = study(tmp_path, spec, table.assign(size=table["size"] + 1, more=1.5))
    for part in PARTS:  # the split is by the id too
        assert changed.parts[part].known_in(first.parts[part].all_marks).all()
    others = study(tmp_path, spec, people(100, seed=5).assign(name=[f"q{n}" for n in range(100)]))
    assert not whole(others) & whole(first)


def test_a_row_is_known_by_its_content_in_a_study_that_names_no_rows(
    small_spec: Callable, people: Callable, tmp_path: Path
) -> None:
    table = people(100).assign(name=[f"p{n}" for n in range(100)])
    named = study(tmp_path, small_spec(sources__people__id="name"), table)
    unnamed = study(tmp_path, small_spec(sources__people__drop=["name"]), table)
    assert whole(unnamed) < whole(named)
    assert len(whole(unnamed)) == 100


def test_equal_ids_of_two_sources_are_two_rows(
    small_spec: Callable, people: Callable, tmp_path: Path
) -> None:
    text = """
name: two
sources: {people: {id: n, drop: [size]}, others: {id: n, drop: [rich]}}
tasks:
  rich: {kind: binary, target: rich, source: people}
  size: {kind: regression, target: size, source: others}
"""
    first, second = people(60).assign(n=range(60)), people(60, seed=3).assign(n=range(60))
    prepared = study(tmp_path, small_spec(text), first, others=second)
    assert len(whole(prepared)) == 240  # a mark of the content and one of the id each


def test_the_cache_keeps_marks_and_does_without(
    small_spec: Callable, people: Callable, tmp_path: Path
) -> None:
    prepared = study(tmp_path, small_spec(), people(90))
    assert prepared.folder is not None
    opened = open_prepared(prepared.folder)
    assert whole(opened) == whole(prepared)
    document = prepared.folder / "prepared.json"
    text = document.read_text()
    for part in PARTS:  # as an earlier version wrote it
        size = (prepared.folder / f"{part}.marks.npy").stat().st_size
        text = text.replace(f',\n  "{part}.marks.npy": {size}', "")
    assert "marks" not in text
    document.write_text(text)
    old = open_prepared(prepared.folder)
    assert whole(old) == set()
    assert not old.parts["test"].known_in(prepared.parts["test"].all_marks).any()
