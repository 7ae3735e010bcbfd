"""What a version of a model says of itself, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping


def model_card(
    model: str,
    alias: str,
    *,
    study: str,
    trial: int,
    data: str,
    scores: Mapping[str, float],
    metrics: Mapping[str, Mapping[str, float]],
) -> str:
    """Returns the card: tasks with their results on test, the data, how to load it."""
    mean = sum(scores.values()) / len(scores)
    lines = [
        f"Trial {trial} of the study **{study}**: mean test score {mean:.4f}.",
        "",
        "| task | score | metrics on test |",
        "| --- | --- | --- |",
    ]
    for task, score in scores.items():
        found = metrics.get(task, {})
        shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        lines.append(f"| {task} | {score:.4f} | {shown} |")
    lines += [
        "",
        "A score is the task's primary metric, oriented so that higher is better.",
        f"Data digest: `{data}`.",
        "",
        "```python",
        "import mlflow, pandas as pd",
        f'model = mlflow.pyfunc.load_model("models:/{model}@{alias}")',
        "answers = model.predict(pd.DataFrame(...))  # raw columns; missing values are fine",
        "```",
        "",
        "Each task has a column of its own and, if it is a classification, a column "
        "`TASK_proba_CLASS` per class. The code that answers travels with the model.",
    ]
    return "\n".join(lines)
