"""What linear and boosting rows read of texts, whatever the study's own encoder."""

from dataclasses import replace

import numpy as np
import pytest
from text_cases import STUDY, notes

from pipeline.comparison.baselines import fit_boosting, fit_constant, fit_linear
from pipeline.comparison.inputs import binned, one_hot
from pipeline.comparison.text_inputs import word_weights
from pipeline.data.assembling import build_prepared
from pipeline.data.prepared import Prepared
from pipeline.evaluation.evaluate import evaluate_one
from pipeline.study.loading import parse_study


def prepared_of(encoder: str) -> Prepared:
    text = STUDY.replace("encoder: {width: 16}", f"encoder: {encoder}")
    table = notes(120).assign(size=np.arange(120.0) % 5, place=list("ab") * 60)
    changes = {"sources.notes.numeric": ["size"], "sources.notes.categorical": ["place"]}
    return build_prepared(parse_study(text, overrides=changes).spec, {"notes": table}, {})


@pytest.fixture(scope="module")
def tokens() -> Prepared:
    return prepared_of("{kind: bag}")


def test_tokens_weigh_as_terms_do(tokens: Prepared) -> None:
    weights = word_weights(tokens)["train"]
    np.testing.assert_allclose(np.asarray(weights.power(2).sum(1)).ravel(), 1, rtol=1e-5)
    row, train = 3, tokens.parts["train"]
    own = train.texts["bag"].take(np.array([row])).items
    words, counts = np.unique(own, return_counts=True)
    n_having = [np.mean([w in train.texts["bag"].take(np.array([i])).items
                         for i in range(len(train))]) * len(train) for w in words]  # fmt: skip
    idf = np.log((1 + len(train)) / (1 + np.array(n_having))) + 1
    expected = (1 + np.log(counts)) * idf
    found = weights[[row]].toarray()[0, words]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)


def test_a_study_that_learns_from_tokens_has_its_baselines(tokens: Prepared) -> None:
    kinds = tokens.kinds()
    targets = tokens.parts["test"].targets

    def mean(fit: object) -> float:
        return evaluate_one(kinds, fit(tokens).outputs["test"], targets, "test").mean  # type: ignore

    assert mean(fit_linear) > mean(fit_constant) + 0.3
    assert mean(fit_boosting) > mean(fit_constant) + 0.3


def test_columns_beside_texts_are_read_too(tokens: Prepared) -> None:
    text = tokens.encoder.text
    assert text is not None
    n_words = text.vocabulary["bag"]
    assert one_hot(tokens)["train"].shape[1] == 1 + n_words + 2
    n_directions = binned(tokens)["train"].shape[1] - 2
    assert n_words - 2 <= n_directions <= min(n_words, 64)


def test_where_there_are_vectors_only_they_are_read() -> None:
    prepared = prepared_of("{kind: tfidf, width: 8}")
    parts = {name: replace(part, texts={}) for name, part in prepared.parts.items()}
    assert one_hot(replace(prepared, parts=parts))["train"].shape[1] == 1 + 8 + 2
