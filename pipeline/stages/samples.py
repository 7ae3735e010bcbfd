"""Samples of summaries and written texts on the run of the model that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.comparison.summaries import samples
from pipeline.driver.records import TrialRecord
from pipeline.driver.trials import end_of
from pipeline.report.samples import samples_page
from pipeline.serving.predictor import Predictor
from pipeline.stages.session import Session
from pipeline.tracking.tracker import Tracker
from pipeline.training.predict import predict_member

Samples = Mapping[str, Sequence[Mapping[str, str]]]
"""Task to its samples."""


def valid_samples(session: Session, predictor: Predictor) -> Samples:
    """Returns what a model writes and chooses for documents of valid; no task, nothing."""
    prepared, part = session.prepared, "valid"
    kinds = [kind for kind in prepared.kinds() if kind.info.name in prepared.documents]
    if not kinds:
        return {}
    rows = prepared.parts[part]
    names = [kind.info.name for kind in kinds]
    outputs = predict_member(predictor.architecture, predictor.parameters, rows, tasks=names)
    return {
        kind.info.name: samples(prepared, outputs[kind.info.name], kind, part) for kind in kinds
    }


def track_samples(tracker: Tracker, record: TrialRecord, part: str, found: Samples) -> None:
    """Adds samples to a run that has ended, as artifacts `samples/PART/TASK.md`."""
    if found:
        files = {
            f"samples/{part}/{task}.md": samples_page(task, part, own)
            for task, own in found.items()
        }
        tracker.finish(record.run_id, replace(end_of(record), files=files))
