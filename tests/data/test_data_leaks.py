from pathlib import Path

import pandas as pd
import pytest
from text_cases import STUDY, notes

from pipeline.data.leaks import leak_share, stands_in
from pipeline.data.prepare import prepare_data
from pipeline.errors import DataError
from pipeline.study.loading import parse_study

TOPICS = ["sport", "music", "trade"] * 20


def share(texts: list[str], labels: list[str | None]) -> float:
    return leak_share(stands_in(texts, labels))


def test_a_label_in_its_document_is_a_leak() -> None:
    assert share([f"Filed under: {t.upper()}! and so on" for t in TOPICS], TOPICS) == 1.0


def test_a_label_is_evidence_where_it_is_not_always_there() -> None:
    half = [f"a note on {t}" if i % 2 else "a note" for i, t in enumerate(TOPICS)]
    assert share(half, TOPICS) == 0
    everywhere = ["sport music trade and so on"] * 60
    assert share(everywhere, TOPICS) == 0
    assert share([f"transports of {t}s" for t in TOPICS], TOPICS) == 0  # parts of words


def test_a_title_in_its_document_is_a_leak() -> None:
    titles = [f"the story of number {i} begins" for i in range(60)]
    bodies = [f"{t.title()}. More of it." if i % 3 else "More" for i, t in enumerate(titles)]
    assert share(bodies, titles) == pytest.approx(2 / 3)
    assert share(["More of it"] * 60, titles) == 0


def test_numbers_missing_labels_and_few_rows_are_no_leak() -> None:
    assert share(["1 0"] * 60, ["1", "0"] * 30) == 0
    assert share(["sport"] * 60, [None] * 60) == 0
    assert share(["sport", "music"], ["sport", "music"]) == 0


def test_short_labels_and_numbers_in_their_documents_are_leaks(tmp_path: Path) -> None:
    assert share([f"answer: {t}" for t in ["yes", "no"] * 30], ["yes", "no"] * 30) == 1
    assert share([f"a note of a {t}" for t in "abcd" * 15], list("abcd" * 15)) == 0  # an article
    table = notes().assign(size=[i / 8 - 4 for i in range(150)])
    table["body"] = table["body"] + " It weighs " + table["size"].astype(str) + " pounds."
    spec = parse_study(
        STUDY, overrides={"tasks.size": {"kind": "regression", "target": "size"}}
    ).spec
    with pytest.raises(DataError, match=r"must not hold `size`, the target of task `size`"):
        prepare_data(spec, Path(), tmp_path, tables={"notes": table})


def test_a_text_that_holds_the_target_is_refused_at_prepare(tmp_path: Path) -> None:
    table = notes()
    table["body"] = table["topic"] + ": " + table["body"]
    spec = parse_study(STUDY).spec
    with pytest.raises(DataError, match=r"must not hold `topic`, the target of task `topic`.*100%"):
        prepare_data(spec, Path(), tmp_path, tables={"notes": table})


def test_a_column_that_repeats_the_target_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"size": range(90), "kind": ["a", "b", "c"] * 30})
    table["again"] = table["kind"]
    table.loc[:5, "kind"] = None  # unlabelled rows say nothing
    spec = parse_study(
        "name: x\nsources: {s: {path: s.csv}}\ntasks: {k: {kind: multiclass, target: kind}}\n"
    ).spec
    with pytest.raises(DataError, match=r"`again` must not repeat `kind`.*labelled train rows"):
        prepare_data(spec, Path(), tmp_path, tables={"s": table})


WRITTEN = """
name: asks
sources: {letters: {path: letters.csv, text: body}}
tasks: {ask: {kind: abstractive, target: ask, text: body}}
model: {encoder: {width: 8}}
"""


def asks(n_told: int) -> pd.DataFrame:
    """Returns 90 letters of which some begin with their question."""
    questions = [f"what is the name of thing {i} ?" for i in range(90)]
    bodies = [f"thing {i} is known, a stone of {i} pounds" for i in range(90)]
    told = [
        f"{q} {b}" if i < n_told else b
        for i, (q, b) in enumerate(zip(questions, bodies, strict=True))
    ]
    return pd.DataFrame({"ask": questions, "body": told})


def test_a_reference_in_its_text_is_refused_or_counted(tmp_path: Path) -> None:
    spec = parse_study(WRITTEN).spec
    with pytest.raises(DataError, match=r"must not hold the reference.*task `ask`.*100%.*extract"):
        prepare_data(spec, Path(), tmp_path, tables={"letters": asks(90)})
    found = prepare_data(spec, Path(), tmp_path, tables={"letters": asks(20)}).report.warnings
    assert any("`ask`: the reference stands whole in the text of" in note for note in found)
    clean = prepare_data(spec, Path(), tmp_path, tables={"letters": asks(0)}).report.warnings
    assert not any("stands whole" in note for note in clean)
