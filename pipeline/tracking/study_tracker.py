"""The tracker that writes a study to MLflow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.tracking import models, pages, parent, runs
from pipeline.tracking.environment import collect_environment
from pipeline.tracking.records import (
    RUNNING,
    STATUS,
    RunRecord,
    State,
    TrialEnd,
    TrialStart,
    now_ms,
)
from pipeline.tracking.store import Store
from pipeline.tracking.writer import Writer

if TYPE_CHECKING:
    from pipeline.serving.predictor import Predictor

FLUSH_SECONDS = 10.0
"""Age at which a running trial's epochs are written: what a killed process may lose of the view
of an interrupted trial, which is trained again anyway."""


class StudyTracker:
    """Writes one study to MLflow; see `tracker.Tracker` for the methods.

    Never the fluent API: its active run is per thread and follows the environment. Starting
    trials writes at once, since their run ids are needed; epochs and ends are buffered and
    written by one thread, the epochs of a short trial together with its end.
    """

    def __init__(self, store: Store, flush_seconds: float = FLUSH_SECONDS) -> None:
        self.store = store
        self.experiment_id = ""
        self.run_id = ""
        self._client = store.client()
        self._writer = Writer()
        self._flush_seconds = flush_seconds
        self._buffers: dict[str, runs.Buffer] = {}
        self._tags: dict[str, str] = {}

    def start_study(
        self,
        name: str,
        text: str,
        prepared: Prepared,
        *,
        params: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        resume_run_id: str | None = None,
    ) -> str:
        """Opens the experiment and the parent run and returns its id."""
        environment = collect_environment(Path.cwd())
        location = self.store.artifact_location(name)
        self.experiment_id = self._writer.call(
            f"Opening the experiment {name}",
            lambda: parent.open_experiment(self._client, name, location),
        )
        self._tags = {
            **parent.context_tags(environment.git),
            "study": name,
            "data": prepared.data_digest,
            "prepared": prepared.prepared_digest,
        }
        own_tags = {**self._tags, "kind": "study", "state": RUNNING, **(tags or {})}
        own_tags["mlflow.note.content"] = pages.running_note(name, self.experiment_id)
        self.run_id = self._open_parent(name, own_tags, resume_run_id)
        files = parent.study_files(text, environment, prepared)
        if self.run_id == resume_run_id:  # beside those of the first start
            files = {f"resumed/{now_ms()}/{file}": found for file, found in files.items()}
        self._submit(
            f"Describing the study {name}",
            lambda run_id: parent.describe_study(
                self._client, run_id, name, prepared, params, files
            ),
            self.run_id,
        )
        return self.run_id

    def start_trials(self, trials: Sequence[TrialStart]) -> dict[int, str]:
        """Opens a child run for each trial and returns the run ids by trial number."""
        started: dict[int, str] = {}
        for trial in trials:
            if trial.number in started:
                raise ValueError(f"Two trials to start have the number {trial.number}.")
            tags = {**self._tags, "mlflow.parentRunId": self.run_id, **trial.run_tags()}
            run_id = self._writer.call(
                f"Opening the run of trial {trial.number}",
                lambda trial=trial, tags=tags: runs.create_run(  # type: ignore[misc]
                    self._client, self.experiment_id, trial.name, tags, trial.timestamp_ms
                ),
            )
            started[trial.number] = run_id
            self._buffers[run_id] = runs.Buffer(params=dict(trial.params))
        return started

    def reopen(self, run_id: str, trial: TrialStart) -> None:
        """Buffers the parameters of a run that an earlier process opened."""
        self._buffers[run_id] = runs.Buffer(params=dict(trial.params))

    def log_epoch(
        self, run_id: str, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Buffers an epoch's values."""
        buffer = self._buffers.setdefault(run_id, runs.Buffer())
        buffer.add(metrics, step, now_ms() if timestamp_ms is None else timestamp_ms)
        if time.monotonic() - buffer.since > self._flush_seconds:
            self._write(run_id)

    def finish(self, run_id: str, end: TrialEnd) -> None:
        """Buffers the end of a trial; may be told again after a crash."""
        buffer = self._buffers.pop(run_id, None) or runs.Buffer()
        buffer.add(end.all_metrics(), end.step, end.timestamp_ms)
        buffer.tags = {**end.tags, "state": end.state, "reason": end.reason}
        if "score" in end.metrics:
            buffer.tags["score"] = f"{end.metrics['score']:.6g}"
        self._submit(
            f"Ending the run {run_id}",
            lambda run_id: runs.end_run(
                self._client,
                run_id,
                STATUS[end.state],
                end.timestamp_ms,
                buffer,
                {} if end.traceback is None else {"traceback.txt": end.traceback},
            ),
            run_id,
        )

    def runs_of_study(self, parent_run_id: str) -> list[RunRecord]:
        """Returns the child runs that are not deleted, in the order of their numbers."""
        self.flush()
        return self._writer.call(
            f"Reading the runs of {parent_run_id}",
            lambda: runs.children(self._client, parent_run_id),
        )

    def discard(self, run_ids: Sequence[str]) -> None:
        """Ends runs of attempts that are made again, as interrupted, and deletes them."""
        for run_id in run_ids:
            self._buffers.pop(run_id, None)
            self._submit(
                f"Discarding the run {run_id}",
                lambda run_id: runs.discard(self._client, run_id),
                run_id,
            )
        self.flush()

    def study_progress(
        self, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Buffers best-so-far values of the parent run; `step` is the trial's number."""
        self.log_epoch(self.run_id, step, metrics, timestamp_ms)

    def finish_study(self, state: State, table: pd.DataFrame, description: str) -> None:
        """Ends the parent run with the table of trials and a description in Markdown."""
        buffer = self._buffers.pop(self.run_id, None) or runs.Buffer()
        buffer.tags = {"state": state, "mlflow.note.content": description}
        files = {
            "trials.csv": table.to_csv(index=False),
            "trials.json": table.to_json(orient="records", indent=1, double_precision=15),
        }
        ended_ms = now_ms()
        self._submit(
            "Ending the study's run",
            lambda run_id: runs.end_run(
                self._client, run_id, STATUS[state], ended_ms, buffer, files
            ),
            self.run_id,
        )
        self.flush()

    def log_model(
        self,
        run_id: str,
        predictor: Predictor,
        *,
        end: TrialEnd | None = None,
        example: pd.DataFrame | None = None,
    ) -> str:
        """Saves a model of a run so that any MLflow client can load it; returns its id."""
        return self._writer.call(
            f"Saving the model of the run {run_id}",
            lambda: models.log_model(self._client, run_id, predictor, end, example),
        )

    def drop_model(self, model_id: str) -> bool:
        """Deletes a model and its files; returns False for one that a registry version needs."""
        location = self._writer.call(
            f"Deleting the model {model_id}",
            lambda: models.drop_model(self._client, model_id),
        )
        if location is not None and location.is_relative_to(self.store.artifacts):
            shutil.rmtree(location, ignore_errors=True)
        return location is not None

    def flush(self) -> None:
        """Writes what is buffered and waits for it."""
        for run_id in list(self._buffers):
            self._write(run_id)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is buffered and ends; closing twice does nothing."""
        if not self._writer.closed:
            for run_id in list(self._buffers):
                self._write(run_id)
        self._writer.close()

    def __enter__(self) -> Self:
        """Returns the tracker."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the tracker."""
        self.close()

    def _open_parent(self, name: str, tags: Mapping[str, str], resume_run_id: str | None) -> str:
        """Opens the parent run again, or a new one where there is none to open.

        Without an id it looks for one: a process may have been killed before it noted the id.
        """
        if resume_run_id is None:
            resume_run_id = self._writer.call(
                f"Looking for the run of {name}",
                lambda: parent.find_parent(self._client, self.experiment_id, name),
            )
        if resume_run_id is not None and self._writer.call(
            f"Resuming the run {resume_run_id}",
            lambda: parent.resume_run(self._client, resume_run_id, tags),
        ):
            return resume_run_id
        return self._writer.call(
            f"Opening the run of {name}",
            lambda: runs.create_run(self._client, self.experiment_id, name, tags, now_ms()),
        )

    def _write(self, run_id: str) -> None:
        """Queues what a running trial has buffered."""
        buffer = self._buffers[run_id]
        self._buffers[run_id] = runs.Buffer()
        if not buffer.empty:
            self._submit(
                f"Writing epochs of the run {run_id}",
                lambda run_id: runs.log_buffer(self._client, run_id, buffer),
                run_id,
            )

    def _submit(self, action: str, job: Any, run_id: str) -> None:
        self._writer.submit(action, lambda: job(run_id))
