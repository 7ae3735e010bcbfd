"""What the search tells its tracker: a run a trial, written behind the training.

The outcomes on disk are what counts; MLflow follows. Every value keeps the time at which it was
reported, so that writing it again after a kill changes nothing that is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.data.prepared import Prepared
from pipeline.driver.records import EpochRecord, StudyFolder, TrialRecord, best_trials
from pipeline.driver.trials import (
    end_of,
    epoch_record,
    make_member,
    make_record,
    start_of,
    tracked_metrics,
)
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.records import TrialEnd, now_ms
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import EpochResult, Member, Trained


class TrialRuns:
    """The runs of one search.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        tracker: Records the runs.
    """

    def __init__(
        self, study: Study, prepared: Prepared, folder: StudyFolder, tracker: Tracker
    ) -> None:
        self._study = study
        self._prepared = prepared
        self._folder = folder
        self._tracker = tracker
        self._run_ids: dict[int, str] = {}
        self._history: dict[int, list[EpochRecord]] = {}

    def open(self) -> str:
        """Opens the parent run, and mends what a killed driver left; returns the parent's id.

        Runs of attempts that will be made again are discarded; runs of trials that have ended,
        but were not written to their end, are written again.
        """
        record = self._folder.record()
        spec = self._study.spec
        run_id = self._tracker.start_study(
            spec.name,
            self._study.text,
            self._prepared,
            params={
                **{path: str(found) for path, found in self._study.ranges.items()},
                "search.sampler": spec.search.sampler,
                "search.pruner": spec.search.pruner,
                "search.order": spec.search.order,
                "seed": spec.seed,
            },
            resume_run_id=record.get("run_id"),
        )
        # Until it ends, the search has no state: a kill must not leave that of an earlier launch.
        kept = {key: value for key, value in record.items() if key != "state"}
        self._folder.save_record({**kept, "run_id": run_id})
        if record.get("cohorts"):
            self._mend(run_id)
        return run_id

    def _mend(self, parent_run_id: str) -> None:
        trials = {trial.run_id: trial for trial in self._folder.trials()}
        runs = [run for run in self._tracker.runs_of_study(parent_run_id) if run.row is None]
        self._tracker.discard([run.run_id for run in runs if run.run_id not in trials])
        behind = [trials[run.run_id] for run in runs
                  if run.run_id in trials and run.status == "RUNNING"]  # fmt: skip
        for trial in behind:
            member = make_member(self._study, self._prepared, trial.number, trial.params)
            start = start_of(member, self._prepared, trial.params, f"#{trial.number}")
            self._tracker.reopen(trial.run_id, start)
            for epoch in trial.history:
                self._tracker.log_epoch(
                    trial.run_id, epoch.epoch, tracked_metrics(epoch), epoch.timestamp_ms
                )
        self.end(behind)
        self._follow_best(self._folder.trials())  # what is there already stays as it is

    def start(self, members: Sequence[Member], params: Mapping[int, Params]) -> None:
        """Opens a run for each member."""
        starts = [
            start_of(member, self._prepared, params[member.number], f"#{member.number}")
            for member in members
        ]
        self._run_ids |= self._tracker.start_trials(starts)
        self._history |= {member.number: [] for member in members}

    def discard(self, members: Sequence[Member]) -> None:
        """Deletes the runs of members that start again."""
        self._tracker.discard([self._run_ids.pop(member.number) for member in members])

    def epochs(self, results: Sequence[EpochResult]) -> None:
        """Notes what members did in an epoch."""
        timestamp_ms = now_ms()
        for result in results:
            epoch = epoch_record(result, self._prepared, timestamp_ms)
            self._history[result.number].append(epoch)
            self._tracker.log_epoch(
                self._run_ids[result.number], epoch.epoch, tracked_metrics(epoch), timestamp_ms
            )

    def records(
        self,
        members: Sequence[Member],
        trained: Sequence[Trained],
        params: Mapping[int, Params],
    ) -> list[TrialRecord]:
        """Returns the records of members that have ended.

        They end later than those before them, whatever the machine's clock does: the time tells
        the order in which trials ended.
        """
        ended_ms = max([now_ms(), *(trial.ended_ms + 1 for trial in self._folder.trials())])
        return [
            make_record(member, result, self._prepared, params[member.number],
                        self._history[member.number], self._run_ids[member.number], ended_ms)
            for member, result in zip(members, trained, strict=True)
        ]  # fmt: skip

    def end(self, trials: Sequence[TrialRecord]) -> None:
        """Ends the runs of trials, and adds them to the parent's best-so-far curves."""
        for trial in trials:
            self._tracker.finish(trial.run_id, end_of(trial))
            self._run_ids.pop(trial.number, None)
            self._history.pop(trial.number, None)
        self._follow_best(trials)

    def _follow_best(self, trials: Sequence[TrialRecord]) -> None:
        """Adds a point for each trial, at the number of trials that ended before it: the best."""
        numbers = {trial.number for trial in trials}
        best: list[TrialRecord] = []
        ended = sorted(self._folder.trials(), key=lambda trial: (trial.ended_ms, trial.number))
        for step, trial in enumerate(ended):
            best = best_trials([*best, trial], 1)
            if not best or trial.number not in numbers:
                continue
            assert best[0].evaluation is not None  # it is complete
            scores = {f"best/{task}": score for task, score in best[0].evaluation.scores.items()}
            metrics = {"best/score": best[0].score or 0.0, **scores}
            self._tracker.study_progress(step, metrics, trial.ended_ms)

    def interrupt(self, reason: str) -> None:
        """Ends the runs of trials that were training; they run again on resume."""
        ended = {trial.run_id for trial in self._folder.trials()}
        for run_id in set(self._run_ids.values()) - ended:
            self._tracker.finish(run_id, TrialEnd("interrupted", reason))
