from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from text_cases import notes

from pipeline.data.check import check_data
from pipeline.data.draft import draft_study
from pipeline.errors import StudyError
from pipeline.study.loading import parse_study

People = Callable[..., pd.DataFrame]


def _checked(text: str, folder: Path, counts: tuple[int | None, ...] = (50, None)) -> dict:
    study = parse_study(text, folder)
    for rows in counts:
        assert check_data(study.spec, folder, None, rows)[0] == []
    return yaml.safe_load(text)


def test_a_draft_passes_check_and_says_what_it_guessed(people: People, tmp_path: Path) -> None:
    table = people().assign(row=range(200), note=[f"note {i}" for i in range(200)])
    table = table.assign(level=[0, 1, 2, 3] * 50, topics=["a;b", "b", "a", "c;a"] * 50)
    table.to_csv(tmp_path / "people v1.csv", index=False)
    targets = ["rich", "size", "level", "town:multiclass", "topics:multilabel"]
    draft = _checked(draft_study(tmp_path / "people v1.csv", targets, folder=tmp_path), tmp_path)
    assert draft["name"] == "people_v1"
    assert draft["sources"]["table"]["path"] == "people v1.csv"
    assert draft["sources"]["table"]["drop"] == ["row", "note"]
    assert {name: task["kind"] for name, task in draft["tasks"].items()} == {
        "rich": "binary", "size": "regression", "level": "multiclass", "town": "multiclass",
        "topics": "multilabel"}  # fmt: skip
    assert draft["tasks"]["topics"]["separator"] == ";"
    assert draft["split"] == {"train": 0.8, "valid": 0.1, "test": 0.1, "stratify": "level"}


def test_a_split_column_is_used(people: People, tmp_path: Path) -> None:
    table = people().assign(Split=["train", "train", "test", "test"] * 50)
    table.to_parquet(tmp_path / "t.parquet")
    draft = _checked(draft_study(tmp_path / "t.parquet", ["size"], "other", tmp_path), tmp_path)
    assert draft["split"] == {"column": "Split", "valid": 0.1}
    assert draft["name"] == draft["promote"]["model"] == "other"


def test_the_path_is_written_from_the_study_file(people: People, tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    people().to_csv(tmp_path / "t.csv", index=False)
    text = draft_study(tmp_path / "t.csv", ["rich"], folder=tmp_path / "studies")
    assert _checked(text, tmp_path / "studies")["sources"]["table"]["path"] == "../t.csv"


@pytest.mark.parametrize("odd", ["a: b", "yes", "- x", "#1", "{x}", "it's", 'say "x"', "übel", "1"])
def test_any_name_of_a_column_is_quoted_safely(people: People, tmp_path: Path, odd: str) -> None:
    table = people().rename(columns={"rich": odd}).assign(**{f"{odd}!": range(200)})
    table.to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", [odd], folder=tmp_path), tmp_path)
    assert next(iter(draft["tasks"].values()))["target"] == odd
    assert draft["sources"]["table"]["drop"] == [f"{odd}!"]


def test_targets_of_one_cleaned_name_stay_apart(people: People, tmp_path: Path) -> None:
    table = people().rename(columns={"rich": "a b", "size": "a-b"})
    table.to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["a b", "a-b"], folder=tmp_path), tmp_path)
    assert list(draft["tasks"]) == ["a_b", "a_b_again1"]


def test_wrong_targets_are_all_told(people: People, tmp_path: Path) -> None:
    people().assign(same=1).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(StudyError) as caught:
        draft_study(tmp_path / "t.csv", ["ritch", "size:regresion", "rich", "rich", "same"])
    told = [f"{fault.found} {fault.hint}" for fault in caught.value.faults]
    assert told[0] == "ritch Did you mean `rich`?"
    assert told[1] == "regresion Did you mean `regression`?"
    assert told[2].startswith("rich")
    assert told[3].startswith("same Give the kind")
    with pytest.raises(StudyError, match="Columns: age"):
        draft_study(tmp_path / "t.csv", [])


def test_a_table_with_texts_gets_a_study_of_texts(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    notes().assign(length=[float(i % 9) for i in range(150)]).to_csv(table, index=False)
    text = draft_study(table, ["topic"], folder=tmp_path)
    study = parse_study(text, tmp_path)
    assert study.spec.sources["table"].text_columns == ("body",)
    assert "# numeric: [length]" in text
    assert study.spec.model.encoder.kinds == ("tfidf",)
    for rows in (50, None):
        assert check_data(study.spec, tmp_path, None, rows)[0] == []


def test_short_texts_are_offered_as_texts_and_counts_not_at_all(tmp_path: Path) -> None:
    table = notes().assign(
        line=[f"about matter number {i}" for i in range(150)], place=["Bern", "Chur"] * 75,
        row=range(150),
    )  # fmt: skip
    table.to_csv(tmp_path / "t.csv", index=False)
    text = draft_study(tmp_path / "t.csv", ["topic"], folder=tmp_path)
    assert "text: [body]" in text
    assert "# text: [title, line, body]" in text
    assert "# categorical: [place]" in text
    assert "row]" not in text


def test_a_label_that_no_train_row_may_have_gives_no_label(tmp_path: Path) -> None:
    table = notes().assign(topic=[["a", "b"][i % 2] for i in range(149)] + ["rare"])
    table.to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["topic"], folder=tmp_path), tmp_path)
    assert draft["tasks"]["topic"] == {"kind": "multiclass", "target": "topic", "min_rows": 1}
    table.assign(split=["train", "train", "test"] * 50).to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["topic"], folder=tmp_path), tmp_path)
    assert draft["tasks"]["topic"]["min_rows"] == 1


def test_targets_without_a_latin_letter_are_numbered(tmp_path: Path) -> None:
    table = notes().assign(学科=["医学", "工学", "农学"] * 50)
    table.rename(columns={"topic": "类"}).to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["学科", "类"], folder=tmp_path), tmp_path)
    assert list(draft["tasks"]) == ["task1", "task2"]


def letters(n_rows: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    words = ["river", "stone", "cloud", "apple", "tower", "light", "paper", "horse"]
    pieces = [[" ".join(draw.choice(words, 9)).capitalize() + "." for _ in range(5)]
              for _ in range(n_rows)]  # fmt: skip
    return pd.DataFrame(
        {
            "id": [f"n{row}" for row in range(n_rows)],
            "body": [" ".join(found) for found in pieces],
            "gist": [" ".join(found[:2]) for found in pieces],
            "head": [" ".join(found[0].split()[::2]) for found in pieces],
            "kind": ["a", "b"] * (n_rows // 2),
        }
    )


def test_a_target_of_sentences_is_a_summary_of_the_longest_text(tmp_path: Path) -> None:
    letters().to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["gist", "kind"], folder=tmp_path), tmp_path)
    assert draft["tasks"] == {
        "gist": {"kind": "summarisation", "target": "gist", "text": "body", "metric": "rouge1"},
        "kind": {"kind": "binary", "target": "kind"},
    }
    assert draft["sources"]["table"]["id"] == "id"
    assert draft["sources"]["table"]["text"] == ["body"]


def test_a_short_reference_is_met_by_a_clause_or_written(tmp_path: Path) -> None:
    letters().to_csv(tmp_path / "t.csv", index=False)
    for target, expected in (
        ("head", {"kind": "summarisation", "unit": "clause", "budget": {"sentences": 1}}),
        ("head:abstractive", {"kind": "abstractive"}),
    ):
        text = draft_study(tmp_path / "t.csv", [target], folder=tmp_path)
        draft = _checked(text, tmp_path, (50,))
        chosen = ", unit: clause, budget: {sentences: 1}"
        if chosen in text:  # what the comment says does
            assert "# 60 of 60 rows labelled; `mode: abstractive` in place of unit" in text
            _checked(text.replace(chosen, ", mode: abstractive"), tmp_path, (50,))
        task = draft["tasks"]["head"]
        assert task == {"target": "head", "text": "body", "metric": "rouge1", **expected}


def test_a_summary_of_nothing_is_refused(tmp_path: Path) -> None:
    letters()[["gist", "kind"]].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(StudyError, match="needs a column of longer texts"):
        draft_study(tmp_path / "t.csv", ["gist:summarisation"])
    with pytest.raises(StudyError, match="Give the kind"):
        draft_study(tmp_path / "t.csv", ["gist"])


def test_the_task_with_most_labels_stratifies(tmp_path: Path) -> None:
    table = letters().assign(split=["train", "train", "test"] * 20, place=list("uvuw") * 15)
    table.to_csv(tmp_path / "t.csv", index=False)
    draft = _checked(draft_study(tmp_path / "t.csv", ["kind", "place"], folder=tmp_path), tmp_path)
    assert draft["split"] == {"column": "split", "valid": 0.1, "stratify": "place"}
