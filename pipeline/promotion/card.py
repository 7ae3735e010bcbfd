"""What a version of a model says of itself, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MOST = 4900  # characters; the registry's databases take 5,000
_MOST_CLASSES = 8


@dataclass(frozen=True)
class CardTask:
    """A task on a model's card.

    Attributes:
        kind: Of the task.
        classes: Its labels, in the order of the answer's columns.
        score: Its primary metric on test, oriented so that higher is better.
        interval: That holds the score with 95 %, had other test rows been drawn.
        constant: Score of answering every row alike.
        metrics: Every metric on test.
        n_rows: Labelled train and test rows.
    """

    kind: str
    classes: Sequence[str]
    score: float
    interval: tuple[float, float]
    constant: float
    metrics: Mapping[str, float]
    n_rows: tuple[int, int]


@dataclass(frozen=True)
class Card:
    """What is known of a model.

    Attributes:
        title: Names it, such as "Trial 3 of the study **adult**".
        data: Digest of the data.
        sources: A phrase for each source: its name, rows and what the study file says about it.
        n_rows: Part to rows.
        tasks: By name.
        inputs: Raw columns that it reads.
        limits: Sentences on what it does not know.
    """

    title: str
    data: str
    sources: Sequence[str] = ()
    n_rows: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, CardTask] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    limits: Sequence[str] = ()


def model_card(model: str, alias: str, card: Card) -> str:
    """Returns the card: tasks with their results on test, the data, limits, how to load it."""
    mean = sum(task.score for task in card.tasks.values()) / max(1, len(card.tasks))
    lines = [
        f"{card.title}: mean test score {mean:.4f}.",
        "",
        "| task | score (95 %) | constant | all metrics on test | labelled rows: train, test |",
        "| --- | --- | --- | --- | --- |",
        *(_task_line(name, task) for name, task in card.tasks.items()),
        "",
        "A score is the task's primary metric, oriented so that higher is better; `constant` is "
        "that of answering every row alike.",
        "",
        "**Data.** " + " ".join(card.sources),
        "Rows: " + ", ".join(f"{part} {n:,}" for part, n in card.n_rows.items()) + ". "
        f"Digest: `{card.data}`.",
        "",
        "**Answers.** " + "; ".join(_answer(name, task) for name, task in card.tasks.items()) + ".",
        "",
        "**Limits.** " + " ".join(card.limits),
        "",
        "```python",
        "import mlflow, pandas as pd",
        f'model = mlflow.pyfunc.load_model("models:/{model}@{alias}")',
        "answers = model.predict(pd.DataFrame(...))  # raw columns; missing values are fine",
        "```",
        "",
        "The code that answers travels with the model: this needs no other package of ours.",
        "",
        "**Inputs.** " + ", ".join(f"`{name}`" for name in card.inputs),
    ]
    text = "\n".join(lines)
    return text if len(text) <= _MOST else f"{text[:_MOST]} ..."


def _task_line(name: str, task: CardTask) -> str:
    low, high = task.interval
    shown = ", ".join(f"{metric} {value:.4f}" for metric, value in task.metrics.items())
    n_train, n_test = task.n_rows
    return (
        f"| {name} | {task.score:.4f} ({low:.4f} to {high:.4f}) | "
        f"{task.constant:.4f} | {shown} | {n_train:,}, {n_test:,} |"
    )


def _answer(name: str, task: CardTask) -> str:
    if not task.classes:
        return f"`{name}` ({task.kind})"
    shown = ", ".join(f"`{label}`" for label in task.classes[:_MOST_CLASSES])
    more = len(task.classes) - _MOST_CLASSES
    return f"`{name}` ({task.kind}: {shown}{f' and {more} more' if more > 0 else ''})"
