"""Does a candidate accept what the champion accepts, and answer what it answers?"""

from __future__ import annotations

import pandas as pd

from pipeline.serving.predictor import Predictor

_TAKES = {"number": "numbers", "yes or no": "yes and no", "text": "texts"}


def narrowed(candidate: Predictor, champion: Predictor) -> list[str]:
    """Returns what would break an application that uses the champion, a phrase each.

    Args:
        candidate: What may take the champion's place.
        champion: What the application was written for.
    """
    ours, theirs = _columns(candidate), _columns(champion)
    found = [
        f"it needs the column `{name}`, which the champion does not read"
        for name in ours
        if name not in theirs
    ]
    found += [
        f"in `{name}` it takes {_TAKES[ours[name]]} only, the champion {_TAKES[theirs[name]]}"
        for name in ours
        # A text may be anything; numbers are no words for yes, and few are 0 or 1.
        if name in theirs and ours[name] not in ("text", theirs[name])
    ]
    lost = [name for name in _answers(champion) if name not in _answers(candidate)]
    return found + [f"it does not answer the column `{name}`" for name in lost]


def _answers(predictor: Predictor) -> list[str]:
    """Returns the columns that a model answers with."""
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in predictor.columns})
    return [str(name) for name in predictor.predict(empty)]


def _columns(predictor: Predictor) -> dict[str, str]:
    """Returns what each column that a model reads may hold."""
    numbers = {
        column.name: "yes or no" if column.boolean else "number"
        for column in predictor.encoder.numeric
    }
    return {name: numbers.get(name, "text") for name in predictor.columns}
