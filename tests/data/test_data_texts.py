"""Texts from the study file to the arrays that training reads, and what bad ones get."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from text_cases import STUDY, notes

from pipeline.data.check import check_data
from pipeline.data.prepare import open_prepared, prepare_data
from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import column_texts, documents
from pipeline.errors import DataError, StudyError
from pipeline.study.loading import parse_study
from pipeline.text.terms import read_words


def prepared_of(table: pd.DataFrame, cache: Path, text: str = STUDY, **changes: object) -> Prepared:
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    spec = parse_study(text, overrides=settings).spec
    return prepare_data(spec, Path(), cache, tables={"notes": table})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared_of(notes(), tmp_path_factory.mktemp("cache"))


def test_a_text_becomes_numeric_columns_and_sparse_rows(prepared: Prepared) -> None:
    train = prepared.parts["train"]
    assert train.numeric.shape == (len(train), 16)
    np.testing.assert_allclose(train.numeric.mean(axis=0), 0, atol=1e-4)
    assert np.mean(train.numeric**2) == pytest.approx(1, rel=1e-3)
    assert len(train.texts["terms"]) == len(train)
    assert any(
        "`title` is left out, as always beside a text" in w for w in prepared.report.warnings
    )


def test_the_cache_gives_the_encoder_back(prepared: Prepared) -> None:
    assert prepared.folder is not None
    again = open_prepared(prepared.folder)
    table = notes(20, seed=5)
    first, second = (p.encoder.encode_all(table) for p in (prepared, again))
    np.testing.assert_array_equal(first.numeric, second.numeric)
    np.testing.assert_array_equal(first.texts["terms"].items, second.texts["terms"].items)
    assert again.encoder.to_json() == prepared.encoder.to_json()
    for part, rows in prepared.parts.items():
        np.testing.assert_array_equal(
            rows.texts["terms"].values, again.parts[part].texts["terms"].values
        )


def test_only_train_decides_the_vocabulary(tmp_path: Path) -> None:
    table = notes()
    # With an id column a row keeps its part whatever its text.
    text = STUDY.replace("text: body", "text: body, id: title")
    first = prepared_of(table, tmp_path, text)
    in_test = table["title"].isin([row.decode() for row in first.parts["test"].ids])
    changed = table.assign(body=table["body"].mask(in_test, "quux " + table["body"]))
    second = prepared_of(changed, tmp_path, text)
    np.testing.assert_array_equal(
        first.encoder.arrays()["tfidf.word_terms"], second.encoder.arrays()["tfidf.word_terms"]
    )
    assert first.data_digest == second.data_digest
    in_train = table["title"].isin([row.decode() for row in first.parts["train"].ids])
    third = prepared_of(
        table.assign(body=table["body"].mask(in_train, "quux " + table["body"])), tmp_path, text
    )
    assert first.data_digest == third.data_digest
    assert first.prepared_digest != third.prepared_digest


def test_several_columns_are_one_document() -> None:
    frame = pd.DataFrame({"a": ["x", None, " "], "b": ["y", "z", None], "c": [1, 2, 3]})
    assert documents(frame, ["a", "b"]) == ["x\n\ny", "z", ""]
    assert documents(frame, ["b", "missing"]) == ["y", "z", ""]
    with pytest.raises(DataError, match="lacks the text column `q`"):
        documents(frame, ["q"])


def test_a_mapping_is_no_text_and_a_list_of_texts_is_one() -> None:
    texts = pd.Series(["a", ["One here.", None, "Two."], np.array(["x", "y"]), [1, 2], [], None],
                      name="body")  # fmt: skip
    found = column_texts(texts)
    assert found == ["a", "One here.\n\nTwo.", "x\n\ny", "[1, 2]", None, None]
    with pytest.raises(DataError, match=r"`body` must hold texts\. Found a mapping in row 2: {'a'"):
        column_texts(pd.Series(["a", {"a": "b"}], name="body"))


def test_bytes_are_named_by_row(tmp_path: Path) -> None:
    table = notes()
    table["body"] = table["body"].astype(object)
    table.loc[7, "body"] = b"caf\xe9"
    with pytest.raises(DataError, match=r"bytes in row 8: b'caf\\xe9'.*[Dd]ecode"):
        prepared_of(table, tmp_path)


def test_odd_documents_are_handled_and_counted(tmp_path: Path) -> None:
    table = notes().astype(object)
    table.loc[0, "body"] = None
    table.loc[1, "body"] = "..."
    table.loc[2, "body"] = "<p>tree &amp; leaf</p>"
    table.loc[3, "body"] = "boat\x00 wave \ud83d"
    table.loc[4, "body"] = "word " * 210_000
    prepared = prepared_of(table, tmp_path)
    said = " ".join(prepared.report.warnings)
    assert "2 of 150 documents have no word" in said
    assert "1 of 150 documents hold tags or entities of HTML" in said
    assert "1 of 150 documents hold control characters or broken ones" in said
    assert "The longest document has 1,050,000 characters" in said
    for part in prepared.parts.values():
        assert np.isfinite(part.numeric).all()


def test_a_source_without_any_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Found none in any train row"):
        prepared_of(notes().assign(body="--"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources__notes__text": "topic"}, "target of task `topic`"),
        ({"sources__notes__text": ["body", "body"]}, "must not list a column twice"),
        ({"sources__notes__text": []}, "must name a column"),
        ({"sources__notes__drop": ["body"]}, "must not be listed under `drop` too"),
        ({"model__encoder__kind": "tfid"}, "Did you mean `tfidf`"),
        ({"model__encoder__kind": []}, "must name an encoder"),
        ({"model__encoder__path": "x", "model__encoder__kind": "tfidf"}, "is not read by `tfidf`"),
    ],
)
def test_a_study_says_what_is_wrong(changes: dict[str, object], message: str) -> None:
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    with pytest.raises(StudyError, match=message):
        parse_study(STUDY, overrides=settings)


def test_an_encoder_without_a_text_is_a_fault() -> None:
    with pytest.raises(StudyError, match="no source has `text`"):
        parse_study(STUDY.replace(", text: body", ""))


def test_check_counts_texts_and_names_a_missing_column() -> None:
    spec = parse_study(STUDY).spec
    faults, said = check_data(spec, Path(), tables={"notes": notes()})
    assert not faults
    assert "Inputs of `notes`, as far as its head shows: 1 text." in said
    spec = parse_study(STUDY, overrides={"sources.notes.text": "boddy"}).spec
    faults, _ = check_data(spec, Path(), tables={"notes": notes()})
    assert "`sources.notes.text` is no column of source `notes`" in str(faults[0])
    assert "`body`" in str(faults[0])


def test_listed_columns_stand_beside_the_text(tmp_path: Path) -> None:
    table = notes().assign(length=np.arange(150.0) % 7)
    prepared = prepared_of(table, tmp_path, sources__notes__numeric=["length"])
    assert prepared.parts["train"].numeric.shape[1] == 17
    assert prepared.encoder.columns == ("length", "body")


TWO_SOURCES = """
name: two
sources:
  notes: {path: notes.csv, text: body}
  mail: {path: mail.csv, text: message}
tasks:
  topic: {kind: multiclass, target: topic, metric: accuracy, source: notes}
  place: {kind: multiclass, target: place, metric: accuracy, source: mail}
model: {encoder: {width: 16}}
"""


def mails() -> pd.DataFrame:
    return notes(90, seed=1).rename(columns={"body": "message", "topic": "place"})


def test_texts_of_two_sources_have_one_encoder(tmp_path: Path) -> None:
    spec = parse_study(TWO_SOURCES).spec
    tables = {"notes": notes(), "mail": mails().drop(columns="title")}
    prepared = prepare_data(spec, Path(), tmp_path, tables=tables)
    assert prepared.encoder.columns == ("body", "message")
    assert sum(prepared.report.n_rows.values()) == 240
    train = prepared.parts["train"]
    labelled = {task: ~np.isnan(target) for task, target in train.targets.items()}
    assert (labelled["topic"] ^ labelled["place"]).all()
    text = "the owl on the path"
    one, other = (
        prepared.encoder.encode(pd.DataFrame({column: [text]}))[0] for column in ("body", "message")
    )
    np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="lacks the input columns `body`, `message`"):
        prepared.encoder.encode(pd.DataFrame({"x": [text]}))


def test_a_column_of_the_same_name_in_another_source_is_not_read(tmp_path: Path) -> None:
    spec = parse_study(TWO_SOURCES).spec
    tables = {"notes": notes(), "mail": mails().assign(body="zebra zebra")}
    prepared = prepare_data(spec, Path(), tmp_path, tables=tables)
    terms = set(prepared.encoder.arrays()["tfidf.word_terms"].tolist())
    assert read_words(["harbour"]).hashes[0] in terms
    assert read_words(["zebra"]).hashes[0] not in terms
