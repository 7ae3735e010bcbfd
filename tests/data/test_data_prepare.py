import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data import cache as cache_module
from pipeline.data import prepare as prepare_module
from pipeline.data.cache import open_prepared
from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import PARTS, Prepared
from pipeline.errors import DataError, StoreError, StudyError
from pipeline.study.loading import parse_study

Spec = Callable[..., Any]
People = Callable[..., pd.DataFrame]


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Prepared]:
    def run(spec: Any, table: pd.DataFrame | None = None, **tables: pd.DataFrame) -> Prepared:
        found = tables or ({} if table is None else {"people": table})
        return prepare_data(spec, tmp_path, tmp_path / "cache", tables=found)

    return run


def _same(first: Prepared, second: Prepared) -> None:
    assert (first.encoder, first.tasks, first.report) == (
        second.encoder, second.tasks, second.report)  # fmt: skip
    for part in PARTS:
        one, two = first.parts[part], second.parts[part]
        for name in ("numeric", "codes", "ids"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        for task in one.targets:
            np.testing.assert_array_equal(one.targets[task], two.targets[task])


def test_every_row_is_in_one_part_with_its_values(
    small_spec: Spec, people: People, prepare
) -> None:
    table = people(300)
    prepared = prepare(small_spec(sources__people__id="name"),
                       table.assign(name=[f"p{i}" for i in range(300)]))  # fmt: skip
    ids = np.concatenate([part.ids for part in prepared.parts.values()])
    assert sorted(ids.tolist()) == sorted(f"p{i}".encode() for i in range(300))
    size = np.concatenate([part.targets["size"] for part in prepared.parts.values()])
    rows = [int(name[1:]) for name in ids.tolist()]
    np.testing.assert_allclose(size, table["size"].to_numpy()[rows], rtol=1e-6)
    assert prepared.report.n_rows == {name: len(part) for name, part in prepared.parts.items()}
    assert prepared.tasks[0].n_labelled == prepared.report.n_rows
    assert [column.name for column in prepared.encoder.numeric] == ["age", "height", "member"]
    assert [column.name for column in prepared.encoder.categorical] == ["town"]


def test_train_alone_fits_everything(small_spec: Spec, people: People, prepare) -> None:
    spec = small_spec(split={"column": "split"})
    table = people(300).assign(split=["train", "valid", "test"] * 100)
    others = table["split"] != "train"
    changed = table.copy()
    changed.loc[others, ["height", "size"]] *= 1000
    changed.loc[others, "age"] = None
    changed.loc[others, "town"] = "Rome"
    changed.loc[others, "member"] = "no"
    first, second = prepare(spec, table), prepare(spec, changed)
    assert first.encoder == second.encoder
    assert first.tasks == second.tasks
    assert first.parts["test"].codes.all()
    assert not second.parts["test"].codes.any()


def test_a_second_prepare_reads_no_source(
    small_spec: Spec, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare
) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    first = prepare(small_spec())
    monkeypatch.setattr(prepare_module, "_build", lambda *_: pytest.fail("a source was read"))
    monkeypatch.setattr("pipeline.data.readers.read_table", lambda *_: pytest.fail("read"))
    second = prepare(small_spec(train__lr=0.1, model__layers=[8], search__trials=3))
    _same(first, second)
    assert first.folder == second.folder
    assert isinstance(second.parts["train"].numeric, np.memmap)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"split__stratify": "town"},
        {"sources__people__drop": ["age"]},
        {"sources__people__categorical": ["age"]},
        {"tasks__rich__positive": "poor"},
        {"tasks__rich__class_weights": "balanced"},
    ],
)
def test_settings_that_shape_the_arrays_have_a_cache_of_their_own(
    small_spec: Spec, people: People, prepare, changes: dict[str, object]
) -> None:
    first = prepare(small_spec(), people())
    assert prepare(small_spec(**changes), people()).prepared_digest != first.prepared_digest


def test_digests_follow_content_and_not_its_place(
    small_spec: Spec, people: People, tmp_path: Path, prepare
) -> None:
    table = people()
    first = prepare(small_spec(sources__people__about="x"), table)
    table.to_csv(tmp_path / "people.csv", index=False)
    table.to_parquet(tmp_path / "other.parquet")
    for path in ("people.csv", "other.parquet"):
        again = prepare(small_spec(sources__people__path=path))
        assert (again.data_digest, again.prepared_digest) == (
            first.data_digest, first.prepared_digest)  # fmt: skip
    for digest in (first.data_digest, first.prepared_digest):
        assert len(digest) == 32


def test_a_changed_file_is_read_again(small_spec: Spec, people: People, tmp_path, prepare) -> None:
    table = people()
    table.to_csv(tmp_path / "people.csv", index=False)
    first = prepare(small_spec())
    table.loc[0, "height"] += 1
    table.to_csv(tmp_path / "people.csv", index=False)
    os.utime(tmp_path / "people.csv", ns=(1, 1))
    second = prepare(small_spec())
    assert first.prepared_digest != second.prepared_digest
    assert first.report.sources["people"]["sha256"] != second.report.sources["people"]["sha256"]
    assert second.report.sources["people"]["columns"] == list(table)


def test_inputs_count_for_the_prepared_digest_and_not_for_the_data_digest(
    small_spec: Spec, people: People, prepare
) -> None:
    table = people().assign(name=range(200))
    spec = small_spec(sources__people__id="name")
    first, second = prepare(spec, table), prepare(spec, table.assign(height=table["height"] + 1))
    assert first.data_digest == second.data_digest
    assert first.prepared_digest != second.prepared_digest


@pytest.mark.parametrize("n_written", [0, 1, 7])
def test_a_writer_that_dies_leaves_nothing_that_opens(
    small_spec: Spec, people: People, tmp_path, monkeypatch, prepare, n_written: int
) -> None:
    written = iter(range(100))

    def write(path: Path, array: np.ndarray, original=cache_module._write_array) -> int:
        if next(written) == n_written:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        return original(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "_write_array", write)
        with pytest.raises(KeyboardInterrupt):
            prepare(small_spec(), people())
    for folder in (tmp_path / "cache").iterdir():
        with pytest.raises(DataError):
            open_prepared(folder)
    prepared = prepare(small_spec(), people())
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {"index", prepared.prepared_digest}


def test_a_writer_that_dies_before_the_rename_leaves_the_place_empty(
    small_spec: Spec, people: People, tmp_path, monkeypatch, prepare
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            prepare(small_spec(), people())
    assert not list((tmp_path / "cache" / "index").glob("*.json"))
    assert prepare(small_spec(), people()).report.warnings == ()


@pytest.mark.parametrize("harm", ["remove", "cut", "document", "nonsense", "version"])
def test_a_damaged_cache_is_built_again_and_told(
    small_spec: Spec, people: People, prepare, harm: str
) -> None:
    first = prepare(small_spec(), people())
    array, document = first.folder / "train.codes.npy", first.folder / "prepared.json"
    if harm == "remove":
        array.unlink()
    elif harm == "cut":
        array.write_bytes(array.read_bytes()[:-4])
    elif harm == "document":
        document.unlink()
    elif harm == "nonsense":
        document.write_text("{")
    else:
        document.write_text(document.read_text().replace('"format": ', '"format": 9'))
    with pytest.raises(DataError):
        open_prepared(first.folder)
    again = prepare(small_spec(), people())
    assert "was damaged and was built again" in again.report.warnings[0]
    assert again.prepared_digest == first.prepared_digest
    assert prepare(small_spec(), people()).report.warnings == ()


def test_a_cache_that_cannot_be_written_is_told(
    small_spec: Spec, people: People, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*--store"):
        prepare_data(
            small_spec(), tmp_path, tmp_path / "file" / "cache", None, {"people": people()}
        )


def test_groups_are_numbered_over_all_parts(small_spec: Spec, people: People, prepare) -> None:
    table = people(400).assign(street=np.arange(400) // 8)
    prepared = prepare(small_spec(split__group="street"), table)
    seen: list[int] = []
    for part in prepared.parts.values():
        assert part.groups is not None
        seen += np.unique(part.groups).tolist()
    assert sorted(seen) == list(range(50))
    assert "street" not in prepared.encoder.columns
    _same(prepared, open_prepared(prepared.folder))


@pytest.mark.parametrize("keep", [True, False])
def test_doubled_inputs_are_counted_and_dropped_on_request(
    small_spec: Spec, people: People, prepare, keep: bool
) -> None:
    table = people(90).assign(split=["train", "valid", "test"] * 30)
    inputs = ["age", "height", "town", "member"]
    table.loc[[0, 3], inputs] = table.loc[2, inputs].to_numpy()  # two of train as one of test
    table.loc[1, inputs] = table.loc[6, inputs].to_numpy()  # one of valid as one of train
    choice = "keep" if keep else "drop"
    prepared = prepare(small_spec(split={"column": "split", "duplicates": choice}), table)
    assert prepared.report.duplicates == {"train/valid": 1, "train/test": 1, "valid/test": 0}
    assert prepared.report.dropped == (0 if keep else 3)
    expected = {"train": 30 if keep else 27, "valid": 30, "test": 30}
    assert {name: len(part) for name, part in prepared.parts.items()} == expected


def test_warnings_reach_the_report(small_spec: Spec, people: People, prepare) -> None:
    table = people()
    table = table.assign(number=range(200), wealth=table["rich"].map({"rich": 1, "poor": 0}),
                         note=[f"note {i}" for i in range(200)], nothing=1)  # fmt: skip
    warnings = prepare(small_spec(), table).report.warnings
    for told in ("`number` looks like an id", "`wealth` looks like a copy of `rich`",
                 "`note` is left out: it looks like an id", "`nothing` is left out"):  # fmt: skip
        assert any(told in warning for warning in warnings)


def test_wrong_columns_are_all_told_at_once(small_spec: Spec, people: People, prepare) -> None:
    spec = small_spec(tasks__rich__target="riches", split__stratify="towns",
                      sources__people__drop=["aged"])  # fmt: skip
    with pytest.raises(StudyError) as caught:
        prepare(spec, people())
    told = {fault.key: fault.hint for fault in caught.value.faults}
    assert told == {
        "sources.people.drop": "Did you mean `age`?",
        "tasks.rich.target": "Did you mean `rich`?",
        "split.stratify": "Did you mean `town`?",
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.assign(height=["tall", "1"] * 100), "Column `height` .*Found 'tall'"),
        (lambda f: f[["rich", "size"]].assign(height=1), "No column is left as an input"),
        (lambda f: f.assign(rich="poor"), "rich"),
        (lambda f: f.assign(rich=None), "rich"),
        (lambda f: f.assign(size=np.inf), "size"),
        (lambda f: f.assign(height=[np.inf] + [1.0] * 199), "Column `height` .*Found inf"),
    ],
)
def test_bad_columns_are_named(small_spec: Spec, people: People, prepare, change, told) -> None:
    spec = small_spec(sources__people__numeric=["height"])
    with pytest.raises(DataError, match=told):
        prepare(spec, change(people()))


@pytest.mark.parametrize("names", [["a", "a"], ["a", None]])
def test_an_id_that_does_not_name_each_row_is_told(
    small_spec: Spec, people: People, prepare, names: list[object]
) -> None:
    table = people().assign(name=[*names, *(f"p{i}" for i in range(198))])
    with pytest.raises(DataError, match=r"id column `name` must name each row.*row 2"):
        prepare(small_spec(sources__people__id="name"), table)


def test_a_table_for_an_unknown_source_is_told(small_spec: Spec, people: People, prepare) -> None:
    with pytest.raises(DataError, match=r"no source of the study\. Did you mean `people`"):
        prepare(small_spec(), peoples=people())


_TWO = """
name: two
sources: {near: {path: near.csv}, far: {path: far.csv, split: {column: part}}}
tasks:
  rich: {kind: binary, target: rich, source: near}
  size: {kind: regression, target: size, source: far}
"""


def test_several_sources_share_inputs_and_not_labels(
    small_spec: Spec, people: People, prepare
) -> None:
    near = people(120, seed=1).drop(columns=["size", "height"])
    far = people(90, seed=2).drop(columns="rich").assign(part=["train", "valid", "test"] * 30)
    prepared = prepare(small_spec(_TWO), near=near, far=far)
    columns = {column.name: column for column in prepared.encoder.numeric}
    assert set(prepared.encoder.columns) == {"age", "town", "member", "height"}
    assert columns["height"].indicator
    for name, part in prepared.parts.items():
        has = np.stack([~np.isnan(part.targets[task]) for task in ("rich", "size")])
        assert (has.sum(axis=0) == 1).all()
        assert has[1].sum() == 30, name
        missing = part.numeric[:, prepared.encoder.n_numeric - 1]  # the last indicator: `height`
        np.testing.assert_array_equal(missing, has[0])
        np.testing.assert_array_equal(part.sources, has[1])
    assert prepared.folder is not None
    for name, part in open_prepared(prepared.folder).parts.items():
        np.testing.assert_array_equal(part.sources, prepared.parts[name].sources)


def _prepare_in_process(folder: Path, number: int) -> None:
    table = pd.DataFrame({"x": np.arange(500) % 17, "rich": ["a", "b"] * 250})
    spec = parse_study(_ONE).spec
    prepared = prepare_data(spec, folder, folder / "cache", tables={"people": table})
    (folder / f"digest{number}").write_text(prepared.prepared_digest)


_ONE = """
name: one
sources: {people: {path: people.csv}}
tasks: {rich: {kind: binary, target: rich}}
"""


def test_two_processes_prepare_one_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_prepare_in_process, args=(tmp_path, i)) for i in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    digests = {(tmp_path / f"digest{i}").read_text() for i in (1, 2)}
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"index", *digests}
    assert len(digests) == 1


@pytest.mark.parametrize("ungrouped", ["own", "drop"])
def test_rows_without_a_group_are_what_the_split_says(
    ungrouped: str, small_spec: Spec, people: People, prepare
) -> None:
    table = people()
    table["family"] = [f"f{i // 4}" for i in range(200)]
    table.loc[:9, "family"] = ["", None] * 5
    split = {"group": "family", "ungrouped": ungrouped}
    prepared = prepare(small_spec(split=split), table)
    assert sum(map(len, prepared.parts.values())) == (200 if ungrouped == "own" else 190)
    groups = [set(part.groups.tolist()) for part in prepared.parts.values()]
    n_families = table["family"][10:].nunique()
    assert (
        sum(map(len, groups))
        == len(set.union(*groups))
        == n_families + (10 if ungrouped == "own" else 0)
    )
    assert any("10 rows without a value in the group column `family`" in note
               for note in prepared.report.warnings)  # fmt: skip
    kept = prepare(small_spec(split={"group": "family"}), table[10:])  # others stay where they are
    own = {part: set(rows.ids.tolist()) for part, rows in prepared.parts.items()}
    assert all(set(kept.parts[part].ids.tolist()) <= own[part] for part in PARTS)


def test_doubled_rows_are_counted_for_each_of_several_sources(
    small_spec: Spec, people: People, prepare
) -> None:
    text = """
name: two
sources: {near: {path: near.csv}, far: {path: far.csv}}
tasks:
  rich: {kind: binary, target: rich, source: near}
  size: {kind: regression, target: size, source: far}
split: {column: part}
"""
    parts = ["train", "valid", "test", "train"] * 50
    near, far = (people(seed=seed).assign(part=parts) for seed in (0, 1))
    inputs = ["age", "height", "town", "member"]
    near.loc[[2, 6], inputs] = near.loc[0, inputs].to_numpy()  # two of test as one of train
    notes = prepare(small_spec(text), near=near, far=far).report.warnings
    told = [note for note in notes if "also stand in an earlier part" in note]
    assert len(told) == 1
    assert "Source `near`" in told[0]
    assert "2 in train/test" in told[0]
