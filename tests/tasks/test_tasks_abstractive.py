"""Written summaries: words and numbers, copies as the source has them, texts that are scored."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.study.loading import parse_study
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.abstractive import Abstractive
from pipeline.tasks.documents import Document, Documents
from pipeline.text.rouge import rouge
from pipeline.text.words import SPECIALS, fit_vocabulary, number_words, spell, split_words

TEXTS = ["What ails Zyx? The Zyx is ill.", "What ails Quux? The Quux is ill."]
QUESTIONS = ["What ails Zyx?", "What ails Quux?"]
DOCUMENTS = Documents(
    tuple(Document((text,), (question,)) for text, question in zip(TEXTS, QUESTIONS, strict=True))
)


def frame() -> pd.DataFrame:
    return pd.DataFrame({"n": [0.0, 1.0, None], "q": [*QUESTIONS, None], "t": [*TEXTS, "no label"]})


def writer(**changes: Any) -> Abstractive:
    size = {"vocabulary": 10, "read": 6, "write": 5, "width": 8, "beam": 1, **changes}
    spec = TaskSpec("abstractive", ["n", "q", "t"], text="t", **size)
    return Abstractive(Abstractive.fit("w", "w", spec, frame()), DOCUMENTS)


def test_a_target_holds_document_reference_and_source() -> None:
    kind = writer()
    target = kind.encode(frame())
    assert target.shape == (3, 1 + 5 + 6)
    assert np.isnan(target[2]).all()
    words = kind.vocabulary
    assert words[:3] == list(SPECIALS)
    assert [words[int(n)] for n in target[0, 1:3]] == ["what", "ails"]
    ends = [int(n) for n in target[0, 3:6]]
    assert words[ends[1]] == "?" or ends[1] == 2
    # The question's name and the text's are one number, so that it can be copied.
    assert target[0, 3] == target[0, 1 + 5 + 2]
    assert target[0, 3] != target[1, 3]


def test_a_target_of_other_words_is_read_again_from_its_documents() -> None:
    theirs, ours = writer(vocabulary=12, read=8, write=4), writer()
    assert theirs.vocabulary != ours.vocabulary
    np.testing.assert_array_equal(theirs.reread(ours.encode(frame())), theirs.encode(frame()))


def test_words_outside_the_vocabulary_are_spelled_as_the_source_has_them() -> None:
    kind = writer()
    numbers = number_words(["what", "MISTRAL"], {w: i for i, w in enumerate(kind.vocabulary)})
    assert numbers[1] >= len(kind.vocabulary)
    assert kind.spelled(numbers, "A cold Mistral blows.") == "What Mistral"
    assert kind.spelled(numbers, TEXTS[0]) == "What"  # there it stands nowhere


def test_a_metric_is_the_mean_rouge_of_the_written_texts() -> None:
    kind = writer()
    target = kind.encode(frame())[:2]
    answers = target[:, 1:6].astype(np.float64)
    wrong = answers[::-1]
    found = kind.metrics["rouge1"](target, kind.decode(np.stack([answers, wrong])))
    assert found[0] == pytest.approx(1.0)
    expected = [rouge("rouge1", QUESTIONS[0].replace("Zyx", ""), [QUESTIONS[1]])]
    assert found[1] == pytest.approx(expected[0], abs=0.2)
    weighted = kind.metrics["rouge1"](target, kind.decode(answers[None]), np.array([[0.0, 2.0]]))
    assert weighted == pytest.approx([1.0])


def test_texts_are_made_once_for_the_draws_of_a_bootstrap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spelled: list[str] = []
    spell_one = Abstractive.spelled

    def note(kind: Abstractive, numbers: Sequence[int], source: str) -> str:
        spelled.append(source)
        return spell_one(kind, numbers, source)

    monkeypatch.setattr(Abstractive, "spelled", note)
    kind = writer()
    target = kind.encode(frame())[:2]
    decoded = kind.decode(target[:, 1:6].astype(np.float64)[::-1][None])
    draws = [np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([[2.0, 0.0]])]
    found = [kind.metrics["rouge1"](target, decoded, drawn) for drawn in draws]
    kind.metrics["rouge2"](target, decoded)
    assert spelled == TEXTS
    turned = kind.metrics["rouge1"](target[::-1], decoded)  # of other rows all is made anew
    assert turned == pytest.approx([1.0])
    assert len(spelled) == 4
    for drawn, value in zip(draws, found, strict=True):
        alone = kind.decode(decoded.values)
        np.testing.assert_array_equal(kind.metrics["rouge1"](target, alone, drawn), value)


def test_the_constant_is_the_most_frequent_reference() -> None:
    table = frame()
    table["q"] = ["What ails Quux?", "What ails Quux?", None]
    spec = TaskSpec("abstractive", ["n", "q", "t"], text="t", vocabulary=20, read=6, write=6)
    kind = Abstractive(Abstractive.fit("w", "w", spec, table))
    written = kind.answer_texts(np.array([kind.info.constant]), [TEXTS[1]])
    assert written["w"].tolist() == ["What ails Quux?"]


@given(st.text(st.sampled_from("abcXYZ 012,.?!()\"'-$\u6c34\u706b\u3002"), max_size=60))
def test_known_words_come_back(text: str) -> None:
    words = split_words(text)
    vocabulary = fit_vocabulary([words, words], 1000)
    numbers = number_words(words, {word: i for i, word in enumerate(vocabulary)})
    assert all(3 <= number < len(vocabulary) for number in numbers)
    again = split_words(spell(numbers, vocabulary, {}))
    joined = "".join(words).lower().replace(" ", "")
    assert "".join(again).lower().replace(" ", "") == joined


def test_the_mode_of_a_summary_names_the_kind() -> None:
    study = parse_study(
        "name: x\nsources: {s: {path: s.csv}}\n"
        "tasks: {t: {kind: summarisation, mode: abstractive, target: a, text: b, beam: 2}}\n"
    )
    assert study.spec.tasks["t"].kind == "abstractive"
