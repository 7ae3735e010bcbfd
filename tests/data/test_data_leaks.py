from pathlib import Path

import pytest
from text_cases import STUDY, notes

from pipeline.data.leaks import leak_share
from pipeline.data.prepare import prepare_data
from pipeline.errors import DataError
from pipeline.study.loading import parse_study

TOPICS = ["sport", "music", "trade"] * 20


def test_a_label_in_its_document_is_a_leak() -> None:
    assert leak_share([f"Filed under: {t.upper()}! and so on" for t in TOPICS], TOPICS) == 1.0


def test_a_label_is_evidence_where_it_is_not_always_there() -> None:
    half = [f"a note on {t}" if i % 2 else "a note" for i, t in enumerate(TOPICS)]
    assert leak_share(half, TOPICS) == 0
    everywhere = ["sport music trade and so on"] * 60
    assert leak_share(everywhere, TOPICS) == 0
    assert leak_share([f"transports of {t}s" for t in TOPICS], TOPICS) == 0  # parts of words


def test_a_title_in_its_document_is_a_leak() -> None:
    titles = [f"the story of number {i} begins" for i in range(60)]
    bodies = [f"{t.title()}. More of it." if i % 3 else "More" for i, t in enumerate(titles)]
    assert leak_share(bodies, titles) == pytest.approx(2 / 3)
    assert leak_share(["More of it"] * 60, titles) == 0


def test_numbers_missing_labels_and_few_rows_are_no_leak() -> None:
    assert leak_share(["1 0"] * 60, ["1", "0"] * 30) == 0
    assert leak_share(["sport"] * 60, [None] * 60) == 0
    assert leak_share(["sport", "music"], ["sport", "music"]) == 0


def test_a_text_that_holds_the_target_is_refused_at_prepare(tmp_path: Path) -> None:
    table = notes()
    table["body"] = table["topic"] + ": " + table["body"]
    spec = parse_study(STUDY).spec
    with pytest.raises(DataError, match=r"must not hold `topic`, the target of task `topic`.*100%"):
        prepare_data(spec, Path(), tmp_path, tables={"notes": table})
