"""The tracker that writes a study to MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from pipeline.data.prepared import Part, Prepared
from pipeline.tracking import models, pages, parent, runs
from pipeline.tracking.bulk import open_bulk
from pipeline.tracking.changes import Change, Changes, NewRun
from pipeline.tracking.datasets import part_digest
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

BULK_SECONDS = 2.0
"""Age at which a running trial's epochs are written, where that is cheap."""
CLIENT_SECONDS = 10.0
"""The same where MLflow's client writes them, run by run."""
_LOOK_SECONDS = 1.0


class StudyTracker:
    """Writes one study to MLflow; see `tracker.Tracker` for the methods.

    Never the fluent API: its active run is per thread and follows the environment. Starting
    trials writes at once, since their run ids are needed; epochs and ends are gathered and
    written by one thread, those of many runs at once where the store allows it: see `bulk`.
    A process that is killed may lose the view of what it had not written.

    Args:
        store: The store.
        flush_seconds: Age at which a running trial's epochs are written; ends are not kept
            longer than a second. None chooses by what writing costs.
        bulk: Whether to write many runs at once where the store allows it.
    """

    def __init__(
        self, store: Store, flush_seconds: float | None = None, *, bulk: bool = True
    ) -> None:
        self.store = store
        self.experiment_id = ""
        self.run_id = ""
        self._client = store.client()
        self._bulk = open_bulk(store.tracking_uri) if bulk else None
        if flush_seconds is None:
            flush_seconds = CLIENT_SECONDS if self._bulk is None else BULK_SECONDS
        self._flush_seconds = flush_seconds
        self._changes = Changes()
        self._tags: dict[str, str] = {}
        self._parts: Mapping[str, Part] = {}
        self._digests: dict[str, str] = {}  # of the parts, once they are asked for
        self._writer = Writer(self._write_changes, min(_LOOK_SECONDS, flush_seconds))

    def start_study(
        self,
        name: str,
        text: str,
        prepared: Prepared,
        *,
        params: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        searched: Sequence[str] | None = None,
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
        self._parts, self._digests = prepared.parts, {}
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
        self._submit(
            f"Arranging the pages of {name}",
            lambda run_id: parent.arrange_pages(
                self._client, self.experiment_id, run_id, name, prepared, searched
            ),
            self.run_id,
        )
        return self.run_id

    def start_trials(self, trials: Sequence[TrialStart]) -> dict[int, str]:
        """Opens a child run for each trial and returns the run ids by trial number."""
        numbers = [trial.number for trial in trials]
        for number in numbers:
            if numbers.count(number) > 1:
                raise ValueError(f"Two trials to start have the number {number}.")
        if not trials:
            return {}
        shared = {**self._tags, "mlflow.parentRunId": self.run_id}
        new = [
            NewRun(trial.name, {**shared, **trial.run_tags()}, trial.timestamp_ms)
            for trial in trials
        ]
        made = self._writer.call(
            f"Opening the runs of {len(new)} trials from {numbers[0]} on",
            lambda: self._create_runs(new),
        )
        started = dict(zip(numbers, made, strict=True))
        for trial in trials:
            self._changes.params(started[trial.number], trial.params)
        return started

    def reopen(self, run_id: str, trial: TrialStart) -> None:
        """Buffers the parameters of a run that an earlier process opened."""
        self._changes.params(run_id, trial.params)

    def log_epoch(
        self, run_id: str, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Buffers an epoch's values."""
        self._changes.metrics(
            run_id, metrics, step, now_ms() if timestamp_ms is None else timestamp_ms
        )

    def finish(self, run_id: str, end: TrialEnd) -> None:
        """Buffers the end of a trial; may be told again after a crash."""
        tags = {**end.tags, "state": end.state, "reason": end.reason}
        if "score" in end.metrics:
            tags["score"] = f"{end.metrics['score']:.6g}"
        files = dict(end.files)
        if end.traceback is not None:
            files["traceback.txt"] = end.traceback
        self._changes.metrics(run_id, end.all_metrics(), end.step, end.timestamp_ms)
        self._changes.end(run_id, STATUS[end.state], end.timestamp_ms, tags, files)

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
            self._changes.drop(run_id)
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

    def refresh_files(self, make: Callable[[], Mapping[str, str]]) -> None:
        """Has files of the parent run made and kept later, in the writer's thread."""
        self._submit(
            f"Refreshing files of the run {self.run_id}",
            lambda run_id: runs.log_files(self._client, run_id, make()),
            self.run_id,
        )

    def finish_study(
        self,
        state: State,
        table: pd.DataFrame,
        description: str,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Ends the parent run with the table of trials and a description in Markdown."""
        tags = {"state": state, "mlflow.note.content": description}
        files = {
            "trials.csv": table.to_csv(index=False),
            "trials.json": table.to_json(orient="records", indent=1, double_precision=15),
            **(files or {}),
        }
        self._changes.end(self.run_id, STATUS[state], now_ms(), tags, files)
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
            lambda: models.log_model(
                self._client, run_id, predictor, end, example, self._part_digests()
            ),
        )

    def log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        step: int,
        metrics: Mapping[str, float],
        timestamp_ms: int,
    ) -> None:
        """Lists a model with more metrics of its run."""
        values = Change(run_id)
        values.add(metrics, step, timestamp_ms)
        study = self._tags["study"]
        self._writer.call(
            f"Logging metrics of the model {model_id}",
            lambda: models.log_metrics(self._client, model_id, values, study, self._part_digests()),
        )

    def drop_model(self, model_id: str) -> bool:
        """Deletes a model and its files; returns False for one that a registry version needs."""
        return self._writer.call(
            f"Deleting the model {model_id}",
            lambda: models.drop_model(self._client, model_id, self.store.artifacts),
        )

    def flush(self) -> None:
        """Writes what is buffered and waits for it."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what is buffered and ends; closing twice does nothing."""
        try:
            self._writer.close()
        finally:
            if self._bulk is not None:
                self._bulk.close()

    def __enter__(self) -> Self:
        """Returns the tracker."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the tracker."""
        self.close()

    def _part_digests(self) -> Mapping[str, str]:
        if not self._digests:
            self._digests = {name: part_digest(part) for name, part in self._parts.items()}
        return self._digests

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
            lambda: self._create_runs([NewRun(name, tags, now_ms())])[0],
        )

    def _create_runs(self, new: Sequence[NewRun]) -> list[str]:
        made = None if self._bulk is None else self._bulk.create(self.experiment_id, new)
        return made or runs.create_runs(self._client, self.experiment_id, new)

    def _write_changes(self, everything: bool) -> None:
        """Writes the changes that are due; runs in the writer's thread."""
        changes = self._changes.take(0.0 if everything else self._flush_seconds)
        bulk = self._bulk
        if bulk is not None and changes:
            action = f"Writing {len(changes)} runs"
            changes = self._writer.attempt(action, lambda: bulk.write(changes)) or []
        for change in changes:
            self._writer.attempt(change.action, partial(runs.write, self._client, change))

    def _submit(self, action: str, job: Any, run_id: str) -> None:
        self._writer.submit(action, lambda: job(run_id))
