"""What a study tells its tracker; and the tracker that listens to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.tracking.records import RunRecord, State, TrialEnd, TrialStart

if TYPE_CHECKING:
    from pipeline.serving.predictor import Predictor


class Tracker(Protocol):
    """Records one study. The calls may come from one thread only.

    Epochs, ends and progress are buffered and written later; an error in writing them is raised
    by the next call that waits for the store: `start_trials`, `flush`, `close` and the like.

    Attributes:
        experiment_id: Of the study's experiment, once the study is started.
    """

    experiment_id: str

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
        """Opens the experiment and the parent run; everything else needs this first.

        Args:
            name: Of the study.
            text: The study file.
            prepared: Gives the data sets, digests and what preparing found.
            params: Ranges by dotted path, and other values worth a column.
            tags: More tags of the parent run.
            searched: Parameters that differ between trials, named as in their runs, for the
                views of the UI; None leaves the views as they are.
            resume_run_id: Parent run of the study that goes on; a new one is made where it is
                None or was deleted.

        Returns:
            The id of the parent run.

        Raises:
            StoreError: The store refused.
        """

    def start_trials(self, trials: Sequence[TrialStart]) -> dict[int, str]:
        """Opens a child run for each trial and returns the run ids by trial number."""

    def reopen(self, run_id: str, trial: TrialStart) -> None:
        """Buffers the parameters of a run that an earlier process opened, to be ended by `finish`.

        The earlier process may have been killed before it wrote them.
        """

    def log_epoch(
        self, run_id: str, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Buffers an epoch's values.

        Args:
            run_id: Of the trial.
            step: The epoch.
            metrics: Values by name; see `records.metric_name`.
            timestamp_ms: When they came; now, where it is None. Sending the same values again
                with the same time changes nothing.
        """

    def finish(self, run_id: str, end: TrialEnd) -> None:
        """Buffers the end of a trial; may be told again after a crash."""

    def runs_of_study(self, parent_run_id: str) -> list[RunRecord]:
        """Returns the child runs that are not deleted, in the order of their numbers."""

    def discard(self, run_ids: Sequence[str]) -> None:
        """Ends runs of attempts that are made again, as interrupted, and deletes them."""

    def study_progress(
        self, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Buffers best-so-far values of the parent run; `step` is the trial's number."""

    def refresh_files(self, make: Callable[[], Mapping[str, str]]) -> None:
        """Has files of the parent run made and kept later, off the training path.

        Args:
            make: Returns texts by name; called in the tracker's own thread.
        """

    def finish_study(
        self,
        state: State,
        table: pd.DataFrame,
        description: str,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Ends the parent run.

        Args:
            state: `complete`, `failed` or `interrupted`.
            table: The trials, a row each; kept as trials.csv and trials.json.
            description: Markdown, shown on the parent's page; the result in its first lines.
            files: More artifacts, name to text.
        """

    def log_model(
        self,
        run_id: str,
        predictor: Predictor,
        *,
        end: TrialEnd | None = None,
        example: pd.DataFrame | None = None,
    ) -> str:
        """Saves a model of a run so that any MLflow client can load it.

        Args:
            run_id: Of the trial.
            predictor: The model.
            end: The trial's end, whose metrics the model is listed with.
            example: A few raw rows, kept with the model.

        Returns:
            The id of the model.
        """

    def log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        step: int,
        metrics: Mapping[str, float],
        timestamp_ms: int,
    ) -> None:
        """Lists a model with more metrics, each with the data set that its first part names.

        Args:
            model_id: Of the model.
            run_id: Of its run, which has the same values with the same step and time.
            step: The epoch whose parameters the model has.
            metrics: Values by name.
            timestamp_ms: When they came.
        """

    def drop_model(self, model_id: str) -> bool:
        """Deletes a model and its files; returns False for one that a registry version needs."""

    def flush(self) -> None:
        """Writes what is buffered and waits for it."""

    def close(self) -> None:
        """Writes what is buffered and ends; closing twice does nothing."""

    def __enter__(self) -> Self:
        """Returns the tracker."""

    def __exit__(self, *error: object) -> None:
        """Closes the tracker."""


class NullTracker:
    """A tracker without effect, for measuring what tracking costs."""

    experiment_id = ""

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
        """Returns an id that stands for nothing."""
        return resume_run_id or "untracked"

    def start_trials(self, trials: Sequence[TrialStart]) -> dict[int, str]:
        """Returns ids that stand for nothing."""
        return {trial.number: f"untracked-{trial.number}" for trial in trials}

    def reopen(self, run_id: str, trial: TrialStart) -> None:
        """Does nothing."""

    def log_epoch(
        self, run_id: str, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Does nothing."""

    def finish(self, run_id: str, end: TrialEnd) -> None:
        """Does nothing."""

    def runs_of_study(self, parent_run_id: str) -> list[RunRecord]:
        """Returns nothing."""
        return []

    def discard(self, run_ids: Sequence[str]) -> None:
        """Does nothing."""

    def study_progress(
        self, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        """Does nothing."""

    def refresh_files(self, make: Callable[[], Mapping[str, str]]) -> None:
        """Does nothing."""

    def finish_study(
        self,
        state: State,
        table: pd.DataFrame,
        description: str,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Does nothing."""

    def log_model(
        self,
        run_id: str,
        predictor: Predictor,
        *,
        end: TrialEnd | None = None,
        example: pd.DataFrame | None = None,
    ) -> str:
        """Returns an id that stands for nothing."""
        return f"untracked-model-{run_id}"

    def log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        step: int,
        metrics: Mapping[str, float],
        timestamp_ms: int,
    ) -> None:
        """Does nothing."""

    def drop_model(self, model_id: str) -> bool:
        """Does nothing."""
        return True

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        """Returns the tracker."""
        return self

    def __exit__(self, *error: object) -> None:
        """Does nothing."""
