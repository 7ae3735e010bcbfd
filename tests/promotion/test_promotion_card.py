from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipeline.data.encoding import Encoder, NumericColumn
from pipeline.promotion.card import Card, CardTask, model_card
from pipeline.promotion.signature import narrowed

TASK = CardTask("binary", ("no", "yes"), 0.81234, (0.8, 0.825), 0.5,
                {"roc_auc": 0.81234, "f1": 0.7}, (1000, 200))  # fmt: skip
CARD = Card(
    "Trial 3 of the study **adult**", "d" * 32, ["`people`: 1,500 rows. UCI Adult."],
    {"train": 1000, "valid": 300, "test": 200}, {"income": TASK}, ["age", "city"],
    ["Nothing was measured elsewhere."],
)  # fmt: skip


def test_the_card_tells_data_tasks_intervals_limits_and_how_to_load() -> None:
    text = model_card("adult", "champion", CARD)
    assert "| income | 0.8123 (0.8000 to 0.8250) | 0.5000 | roc_auc 0.8123, f1 0.7000 " in text
    assert "| 1,000, 200 |" in text
    for told in ("UCI Adult.", "train 1,000, valid 300, test 200", "d" * 32,
                 "**Limits.** Nothing was measured elsewhere.", "`age`, `city`",
                 "`income` (binary: `no`, `yes`)",
                 'mlflow.pyfunc.load_model("models:/adult@champion")'):  # fmt: skip
        assert told in text


def test_a_long_card_fits_the_registry_and_still_says_how_to_load() -> None:
    many = {f"task_{n}": replace(TASK, classes=[f"label {i}" for i in range(99)]) for n in range(9)}
    long = replace(CARD, tasks=many, inputs=[f"column_{n}" for n in range(2000)])
    text = model_card("adult", "champion", long)
    assert len(text) <= 5000  # what its databases take
    assert "load_model" in text
    assert "and 91 more" in text


def model(answers: str = "income", **columns: str) -> Any:
    """What a signature is read from: columns with what they take, and answers."""
    numeric = [
        NumericColumn(name, median=0.0, mean=0.0, std=1.0, boolean=takes == "yes or no")
        for name, takes in columns.items()
        if takes != "text"
    ]
    answer = pd.DataFrame(columns=answers.split())
    return SimpleNamespace(
        columns=tuple(columns), encoder=Encoder(tuple(numeric), ()), predict=lambda _: answer
    )


def test_a_candidate_must_accept_what_the_champion_accepts(make_predictor: Callable) -> None:
    assert narrowed(make_predictor(1), make_predictor(0)) == []
    few, more = model(age="number"), model(age="number", street="text")
    assert narrowed(more, few) == ["it needs the column `street`, which the champion does not read"]
    assert narrowed(few, more) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ("number", "text", "numbers only, the champion texts"),
        ("yes or no", "number", "yes and no only, the champion numbers"),
        ("number", "yes or no", "numbers only, the champion yes and no"),
        ("text", "number", ""),
        ("number", "number", ""),
    ],
)
def test_a_candidate_must_not_take_less_in_a_column(ours: str, theirs: str, told: str) -> None:
    expected = [f"in `zip` it takes {told}"] if told else []
    assert narrowed(model(zip=ours), model(zip=theirs)) == expected


def test_a_candidate_must_answer_what_the_champion_answers(make_predictor: Callable) -> None:
    champion, other = make_predictor(0), make_predictor(1, n_tasks=2)
    assert narrowed(other, champion) == ["it does not answer the column `hours`"]
