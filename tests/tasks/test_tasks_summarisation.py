"""Summaries: documents are put together from their pieces, scored as texts, weighted as wholes."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.study.task_spec import BudgetSpec, TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.documents import MOST_PIECES, Document, Documents, split_document
from pipeline.tasks.summarisation import Summarisation, rows_of_documents
from pipeline.text.rouge import ROUGES, rouge

DOCUMENTS = Documents(
    (
        Document(("Cats sleep all day.", "Dogs bark.", "Birds sing songs."), ("dogs bark loudly",)),
        Document(("Rain fell.", "The sun shone over fields."), ("sun over fields", "no rain")),
        Document(("One line only.",), ("one line",)),
    )
)
TARGET = np.array([[0.1, 1, 0], [0.9, 0, 1], [0.2, 0, 0], [0.0, 0, 2], [0.8, 1, 1], [0.7, 2, 0]],
                  dtype=np.float32)  # fmt: skip
"""The pieces in any order; those of a document have rising numbers nowhere."""


def summary(budget: BudgetSpec, documents: Documents | None = DOCUMENTS) -> Kind:
    spec = TaskSpec("summarisation", ["l", "d", "p"], text="text", budget=budget)
    frame = pd.DataFrame(TARGET, columns=["l", "d", "p"])
    return Summarisation(Summarisation.fit("s", "s", spec, frame)).with_documents(documents)


def test_pieces_are_put_back_in_order() -> None:
    found = {number: rows.tolist() for number, rows in rows_of_documents(TARGET)}
    assert found == {0: [2, 1, 3], 1: [0, 4], 2: [5]}


@pytest.mark.parametrize("name", ROUGES)
def test_a_metric_is_the_mean_rouge_of_the_chosen_texts(name: str) -> None:
    kind = summary(BudgetSpec(sentences=1))
    scores = np.array([[0.0, 3, 1, 2, 1, 0], [9.0, 0, 1, 2, 1, 0]])[..., None]
    found = kind.metrics[name](TARGET, kind.decode(scores))
    texts = [
        ["Dogs bark.", "The sun shone over fields.", "One line only."],
        ["Birds sing songs.", "Rain fell.", "One line only."],
    ]
    for value, chosen in zip(found, texts, strict=True):
        each = [rouge(name, text, DOCUMENTS[i].references) for i, text in enumerate(chosen)]
        assert value == pytest.approx(np.mean(each))


def test_weights_are_those_of_whole_documents() -> None:
    kind = summary(BudgetSpec(sentences=1))
    decoded = kind.decode(np.array([0.0, 3, 1, 2, 1, 0])[None, :, None])
    times = np.array([[2.0, 0, 1]])  # of documents 0, 1, 2
    weight = times[:, TARGET[:, 1].astype(int)]
    each = [
        rouge("rouge1", "Dogs bark.", DOCUMENTS[0].references),
        rouge("rouge1", "One line only.", DOCUMENTS[2].references),
    ]
    found = kind.metrics["rouge1"](TARGET, decoded, weight)
    assert found == pytest.approx([(2 * each[0] + each[1]) / 3])
    assert kind.n_examples(TARGET) == 3


def test_pieces_are_chosen_once_for_the_draws_of_a_bootstrap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen: list[int] = []
    choose = Document.choose

    def note(document: Document, scores: Any, budget: Any, near: bool) -> tuple[int, ...]:
        chosen.append(len(scores))
        return choose(document, scores, budget, near)

    monkeypatch.setattr(Document, "choose", note)
    kind = summary(BudgetSpec(sentences=1))
    values = np.array([0.0, 3, 1, 2, 1, 0])[None, :, None]
    decoded = kind.decode(values)
    draws = [np.array([times], np.float64)[:, TARGET[:, 1].astype(int)]
             for times in ([2, 0, 1], [0, 1, 2])]  # fmt: skip
    found = [kind.metrics["rouge1"](TARGET, decoded, drawn) for drawn in draws]
    assert chosen == [3, 2, 1]
    for drawn, value in zip(draws, found, strict=True):
        alone = kind.metrics["rouge1"](TARGET, kind.decode(values), drawn)
        np.testing.assert_array_equal(alone, value)
    kind.metrics["rouge1"](TARGET.copy(), decoded)  # of other rows they are chosen anew
    assert len(chosen) == 4 * 3


def test_the_budget_of_a_reference_is_its_length_and_serving_takes_the_share() -> None:
    kind = summary(BudgetSpec(share=0.3, reference=True))
    scores = np.array([0.0, 3, 2, 1, 1, 0])[None, :, None]
    decoded: Any = kind.decode(scores)
    chosen = dict(decoded.chosen(TARGET, 0))
    assert chosen[0] == (1,)  # two words of three; a second piece would be farther off
    served = Summarisation(kind.info)
    answer = served.answer_documents(
        np.array([2.0, 3, 1, 0, 5, 1])[:, None],
        [Document(one.pieces) for one in DOCUMENTS.documents],
    )
    assert answer["s"].tolist() == ["Dogs bark.", "The sun shone over fields.", "One line only."]


def test_a_summary_stands_in_the_order_of_the_article() -> None:
    kind = summary(BudgetSpec(sentences=2))
    assert isinstance(kind, Summarisation)
    outputs = np.array([0.0, 2, 1])[:, None]
    answer = kind.answer_documents(outputs, [DOCUMENTS[0]])
    assert answer["s"].tolist() == ["Dogs bark. Birds sing songs."]


def test_raw_rows_become_pieces_and_an_empty_document_an_empty_summary() -> None:
    kind = summary(BudgetSpec(sentences=1), None)
    assert isinstance(kind, Summarisation)
    frame = pd.DataFrame({"text": ["One here. Two there.", None, " ... ", "Last."]})
    documents = kind.documents_of(frame)
    assert [len(one.pieces) for one in documents] == [2, 0, 0, 1]
    rows = kind.rows_of(documents)
    assert rows["text"].tolist() == ["One here.", "Two there.", "Last."]
    assert set(kind.info.options["features"]) <= set(rows.columns)
    answer = kind.answer_documents(np.zeros((3, 1)), documents)
    assert answer["s"].tolist() == ["One here.", "", "", "Last."]


def test_a_very_long_document_keeps_its_first_pieces() -> None:
    assert len(split_document("A few words here. " * 50_000, "sentence")) == MOST_PIECES


def test_pieces_show_no_markup_and_keep_their_letters() -> None:
    pieces = split_document("<p>Fish &amp; chips\x00 here.</p><br>\uff21ll of it.", "sentence")
    assert pieces == ("Fish & chips  here.", "\uff21ll of it.")


def test_documents_survive_json_and_remember_scores() -> None:
    titled = Documents((*DOCUMENTS.documents, Document(("A b.",), ("a",), "On b")))
    assert Documents.from_json(json.loads(json.dumps(titled.to_json()))) == titled
    again = Documents.from_json(DOCUMENTS.to_json())
    assert again == DOCUMENTS
    assert Documents.from_json([[["A b."], ["a"]]])[0].title == ""
    first = again.score("rouge1", 0, (1,))
    assert again.score("rouge1", 0, (1,)) == first == pytest.approx(0.8)
    assert again.score("copied", 0, (0, 1)) == 1
    assert again.score("length", 0, (1,)) == pytest.approx(2 / 3)
