"""Documents whose topic follows from their words, made up for the tests of texts."""

import numpy as np
import pandas as pd

WORDS = {
    "sea": ["boat", "wave", "fish", "sail", "harbour", "tide"],
    "wood": ["tree", "leaf", "owl", "moss", "deer", "path"],
    "town": ["street", "shop", "tram", "market", "clock", "house"],
}
FILLER = ["the", "a", "of", "and", "in", "with", "there", "was", "then", "it"]
STUDY = """
name: topics
sources: {notes: {path: notes.csv, text: body}}
tasks: {topic: {kind: multiclass, target: topic, metric: accuracy}}
split: {train: 0.6, valid: 0.2, test: 0.2, stratify: topic}
model: {encoder: {width: 16}, layers: [16]}
train: {epochs: 8, batch_size: 32, lr: 0.01}
search: {trials: 2, pruner: none}
"""


def notes(n_rows: int = 150, seed: int = 0) -> pd.DataFrame:
    """Returns a table of `title`, `body` and `topic`."""
    random = np.random.default_rng(seed)
    topics = random.choice(list(WORDS), n_rows)
    bodies = [
        " ".join(random.permutation([*random.choice(WORDS[topic], 4), *random.choice(FILLER, 12)]))
        for topic in topics
    ]
    return pd.DataFrame({
        "title": [f"note {row} on something" for row in range(n_rows)],
        "body": bodies,
        "topic": topics,
    })  # fmt: skip
