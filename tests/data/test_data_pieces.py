"""Documents become rows of pieces: split with their documents, labelled, counted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data.assembling import build_prepared
from pipeline.data.pieces import references_of, with_pieces
from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.errors import DataError, StudyError
from pipeline.study.loading import parse_study

STUDY = """
name: letters
sources: {letters: {id: name}}
tasks:
  gist: {kind: summarisation, target: gist, text: body, title: head, budget: {sentences: 1}}
  loud: {kind: binary, target: loud}
split: {column: part}
"""


def letters(n: int = 60) -> pd.DataFrame:
    """Letters of three sentences, of which one names the matter and is the gist."""
    draw = np.random.default_rng(0)
    plain = ["We met at noon.", "It was cold outside.", "Many people came.", "Nobody knew why."]
    rows = []
    for number in range(n):
        matter = f"The matter of case {number} is settled now."
        pieces = [matter, *draw.choice(plain, 2, replace=False)]
        draw.shuffle(pieces)
        rows.append(
            {
                "name": f"letter{number}", "body": " ".join(pieces), "head": f"case {number}",
                "gist": matter, "loud": ["yes", "no"][number % 2], "size": float(number % 7),
                "part": ["train", "train", "valid", "test"][number % 4],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def prepared(tmp_path: Path, frame: pd.DataFrame, **changes: Any) -> Prepared:
    study = parse_study(STUDY, overrides={k.replace("__", "."): v for k, v in changes.items()})
    return prepare_data(study.spec, tmp_path, tmp_path / "cache", tables={"letters": frame})


def test_pieces_are_split_as_their_documents(tmp_path: Path) -> None:
    frame = letters()
    found = prepared(tmp_path, frame)
    documents = found.documents["gist"]
    assert len(documents) == 60
    for name, part in found.parts.items():
        target = part.targets["gist"]
        inside = ~np.isnan(target).any(axis=1)
        numbers = np.unique(target[inside, 1]).astype(int)
        gists = {documents[number].references[0] for number in numbers}
        assert gists == set(frame.gist[frame.part == name])
        # A row is a letter or a piece, never both; a letter has three pieces of its own group.
        assert (np.isnan(part.targets["loud"]) == inside).all()
        assert inside.sum() == 3 * len(numbers)
        np.testing.assert_array_equal(part.sources, inside)  # the pieces are the second source
        assert part.groups is not None
        of_group = pd.Series(target[inside, 1]).groupby(part.groups[inside])
        assert (of_group.nunique() == 1).all()
        assert of_group.size().eq(3).all()


def test_a_gist_of_whole_sentences_is_labelled_by_membership(tmp_path: Path) -> None:
    found = prepared(tmp_path, letters())
    for part in found.parts.values():
        target = part.targets["gist"]
        target = target[~np.isnan(target).any(axis=1)]
        for label, number, piece in target:
            document = found.documents["gist"][int(number)]
            assert label == (document.pieces[int(piece)] == document.references[0])


def test_the_cache_gives_the_documents_back(tmp_path: Path) -> None:
    first = prepared(tmp_path, letters())
    again = prepared(tmp_path, letters())
    assert again.documents == first.documents
    assert again.prepared_digest == first.prepared_digest
    (kind,) = [kind for kind in again.kinds() if kind.info.name == "gist"]
    assert kind.n_examples(again.parts["test"].targets["gist"][-3:]) == 1


def test_changed_references_change_the_data_digest(tmp_path: Path) -> None:
    other = letters()
    # Still its own sentence and so the same labels, but another text to be compared with.
    other.loc[0, "gist"] = str(other.gist[0]).upper()
    assert prepared(tmp_path, letters()).data_digest != prepared(tmp_path, other).data_digest


def test_what_cannot_be_summarised_is_counted_and_left_out(tmp_path: Path) -> None:
    frame = letters()
    frame["gist"] = frame["gist"].astype(object)
    frame.at[0, "gist"] = None
    frame.at[4, "gist"] = "?!"
    frame.at[8, "body"] = " ... "
    frame.at[12, "gist"] = "A reference that is longer than its letter. " * 30
    frame.at[16, "body"] = "Words and more words. " * 70_000
    found = prepared(tmp_path, frame)
    notes = " ".join(found.report.warnings)
    assert "2 rows have no reference" in notes
    assert "1 rows have no word in `body`" in notes
    assert "1 rows have a reference that is longer" in notes
    assert "1 rows are so long" in notes
    assert len(found.documents["gist"]) == 57


def test_no_reference_at_all_is_refused(tmp_path: Path) -> None:
    frame = letters()
    frame["gist"] = None
    with pytest.raises(DataError, match="`gist` must have a document in `body` with a reference"):
        prepared(tmp_path, frame)


def test_references_that_share_no_word_are_refused(tmp_path: Path) -> None:
    frame = letters()
    frame["gist"] = "xyzzy"
    with pytest.raises(DataError, match="must share words with its document"):
        prepared(tmp_path, frame)


def test_columns_that_the_source_lacks_are_named() -> None:
    study = parse_study(STUDY.replace("text: body", "text: bodi").replace("head", "heads"))
    with pytest.raises(StudyError) as caught:
        build_prepared(study.spec, {"letters": letters()}, {})
    assert {fault.key for fault in caught.value.faults} == {"tasks.gist.text", "tasks.gist.title"}


@pytest.mark.parametrize(
    ("cell", "references"),
    [("One.", ("One.",)), (["a", None, "", "b"], ("a", "b")), (None, ()), (float("nan"), ()),
     ("...", ()), (np.array(["x"], dtype=object), ("x",)), ([], ())],
)  # fmt: skip
def test_references_are_a_text_or_a_list_of_texts(cell: Any, references: tuple[str, ...]) -> None:
    assert references_of(cell) == references


def test_without_a_budget_a_summary_takes_the_share_of_train(tmp_path: Path) -> None:
    study = parse_study(STUDY.replace(", budget: {sentences: 1}", ""))
    pieces = with_pieces(study.spec, {"letters": letters()})
    budget = pieces.spec.tasks["gist"].budget
    assert budget is not None
    assert 0.4 < budget.share < 0.7
    assert not budget.reference


def test_a_study_of_summaries_alone_has_no_rows_of_documents() -> None:
    text = STUDY.replace("  loud: {kind: binary, target: loud}\n", "")
    pieces = with_pieces(parse_study(text).spec, {"letters": letters()})
    assert list(pieces.frames) == ["gist_pieces"]
    assert len(pieces.frames["gist_pieces"]) == 180


def test_pieces_of_rows_do_not_shape_the_encoder(tmp_path: Path) -> None:
    text = STUDY.replace("{id: name}", "{id: name, text: body}")
    text += "model: {encoder: {kind: tfidf, width: 8}}\n"
    both = parse_study(text).spec
    whole = replace(both, tasks={"loud": both.tasks["loud"]})
    alone = replace(both, tasks={"gist": both.tasks["gist"]})
    frames = {"letters": letters()}
    found = [build_prepared(spec, frames, {}).encoder.arrays() for spec in (both, whole, alone)]
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name], err_msg=name)
    # Where letters are no rows, their pieces are all there is: a word weighs by pieces that have
    # it, of which "case" is in a third.
    assert found[2]["tfidf.word_idf"].max() > found[0]["tfidf.word_idf"].max()


def test_pieces_are_not_counted_as_documents() -> None:
    study = """
name: s
sources: {notes: {text: body}}
tasks:
  grade: {kind: binary, target: grade}
  gist: {kind: summarisation, target: gist, text: body, budget: {sentences: 1}}
split: {column: part}
model: {encoder: {kind: bag, max_words: 8}}
"""
    rows = [
        {"body": f"Word number{i} comes first. The same in all.", "gist": f"Word number{i}",
         "grade": ["a", "b"][i % 2], "part": ["train", "train", "train", "valid", "test"][i % 5]}
        for i in range(40)
    ]  # fmt: skip
    rows[0]["body"] += " " + "Many more words. " * 9
    spec = parse_study(study).spec
    prepared = build_prepared(spec, {"notes": pd.DataFrame(rows)}, {})
    # Of the pieces, `The same in all.` stands in every part, and none is longer than 8 words.
    assert set(prepared.report.duplicates.values()) == {0}
    said = " ".join(prepared.report.warnings)
    assert "1 of 40 documents is longer than 8 words, and the encoder `bag`" in said
    assert "pieces of documents" not in said
    assert prepared.sizes().endswith("test, pieces of documents among them")


def test_what_a_decoder_does_not_read_or_write_is_counted() -> None:
    study = """
name: s
sources: {notes: {text: body}}
tasks: {ask: {kind: abstractive, target: ask, text: body, read: 12, write: 5}}
split: {column: part}
"""
    rows = [
        {"body": f"Word number{i} " * (7 if i < 3 else 6),
         "ask": "a b c d e" if i < 2 else "a b c d",
         "part": ["train", "train", "train", "valid", "test"][i % 5]}
        for i in range(20)
    ]  # fmt: skip
    found = with_pieces(parse_study(study).spec, {"notes": pd.DataFrame(rows)}).warnings
    assert found == (
        "Task `ask`: 3 rows have more than 12 words in `body`, of which the decoder reads the "
        "first; `tasks.ask.read` sets how many.",
        "Task `ask`: 2 rows have a reference of more than 4 words, of which it learns to write the "
        "first; `tasks.ask.write` sets how many.",
    )
