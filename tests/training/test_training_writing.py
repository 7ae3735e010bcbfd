"""Tasks that write beside others: rows of several sources, members that do not learn to write."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from training_data import SPECS, make_prepared, member, only

from pipeline.data.prepared import Prepared
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.abstractive import Abstractive
from pipeline.tasks.documents import Document, Documents
from pipeline.training.loop import train
from pipeline.training.members import Member

CHANCES = {"dropout": 0.3, "dropout_head": 0.2, "weight_decay": 0.1, "clip": 0.5}
SIZE = {"read": 6, "write": 5, "width": 8, "beam": 2}
WRITES = {"ask": TaskSpec("abstractive", ["n", "q", "t"], text="t", **SIZE)}


def with_writing(every: int = 3) -> Prepared:
    """Returns the rows of `bought` and `colour`, of which every third is a letter with a question.

    Others have no words and no question, as rows of another source.
    """
    prepared = only(make_prepared(), "bought", "colour")
    n_rows = sum(map(len, prepared.parts.values()))
    names = [f"Name{row % 7}" for row in range(n_rows)]
    table = pd.DataFrame({
        "n": np.arange(n_rows, dtype=float), "q": [f"What is {name}?" for name in names],
        "t": [f"the river of {name} was deep" for name in names],
    })  # fmt: skip
    documents = Documents(tuple(
        Document((text,), (asked,)) for text, asked in zip(table["t"], table["q"], strict=True)
    ))  # fmt: skip
    table.loc[np.arange(n_rows) % every > 0, ["n", "q", "t"]] = None
    info = Abstractive.fit("ask", "ask", WRITES["ask"], table[: len(prepared.parts["train"])])
    target = Abstractive(info, documents).encode(table)
    parts, low = {}, 0
    for name, part in prepared.parts.items():
        own = {**part.targets, "ask": target[low : low + len(part)]}
        parts[name] = replace(part, targets=own)
        low += len(part)
    return replace(
        prepared, parts=parts, tasks=(*prepared.tasks, info), documents={"ask": documents}
    )


def writer(number: int, *weights: float, **chances: float) -> Member:
    return replace(
        member(number, weights=weights, **{**CHANCES, **chances}), tasks={**SPECS, **WRITES}
    )


def without_labels(prepared: Prepared, *tasks: str) -> Prepared:
    part = prepared.parts["train"]
    empty = {task: np.full_like(part.targets[task], np.nan) for task in tasks}
    found = replace(part, targets={**part.targets, **empty})
    return replace(prepared, parts={**prepared.parts, "train": found})


@pytest.mark.parametrize("learned", [(0, 1), (2,)], ids=["labels", "a text"])
def test_a_task_whose_labels_are_all_missing_leaves_the_others_alone(
    learned: tuple[int, ...],
) -> None:
    names = ["bought", "colour", "ask"]
    missing = [name for t, name in enumerate(names) if t not in learned]
    data = without_labels(with_writing(), *missing)
    both = train([writer(0, 1.0, 1.0, 1.0)], data)[0]
    alone = train([writer(0, *(float(t in learned) for t in range(3)))], data)[0]
    for name, values in alone.parameters.items():
        np.testing.assert_array_equal(values, both.parameters[name])


def test_a_member_that_writes_or_not_equals_itself_alone() -> None:
    data = with_writing()
    members = [writer(0, 1.0, 1.0, 1.0), writer(1, 1.0, 0.0, 0.0, dropout=0.0),
               writer(2, 0.0, 0.0, 1.0, dropout_head=0.0), writer(3, 0.0, 1.0, 0.0)]  # fmt: skip
    told: dict[int, list[dict[str, float]]] = {m.number: [] for m in members}
    together = train(members, data, lambda results: told_by(told, results))
    for one, found in zip(members, together, strict=True):
        own: dict[int, list[dict[str, float]]] = {one.number: []}
        alone = train([one], data, lambda results, own=own: told_by(own, results))[0]
        for alone_scores, scores in zip(own[one.number], told[one.number], strict=True):
            assert alone_scores == pytest.approx(scores)
        for name, values in alone.parameters.items():
            np.testing.assert_allclose(values, found.parameters[name], atol=2e-5)
        assert alone.evaluation is not None
        assert found.evaluation is not None
        assert alone.evaluation.scores == pytest.approx(found.evaluation.scores)
        if one.weights[2] == 0:  # what is not learned is not written
            assert alone.evaluation.scores["ask"] == 0


def told_by(told: dict[int, list[dict[str, float]]], results: list) -> dict:
    for result in results:
        told[result.number].append(dict(result.scores))
    return {}


def test_it_learns_to_ask_beside_the_other_tasks() -> None:
    found = train([replace(
        writer(0, 1.0, 1.0, 1.0, dropout=0.0, dropout_head=0.0, clip=5.0, weight_decay=0.0),
        train=replace(member().train, epochs=30, lr=0.02),
    )], with_writing())[0]  # fmt: skip
    assert found.evaluation is not None
    assert found.evaluation.tasks["ask"]["rougeL"] > 0.6
