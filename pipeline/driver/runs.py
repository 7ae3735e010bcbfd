"""What a search tells its tracker: a run a trial, written behind the training.

The outcomes on disk are what counts; MLflow follows. Every value keeps the time at which it was
reported, so that writing it again after a kill changes nothing that is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.launch import pruner_name
from pipeline.driver.pareto import front_volume
from pipeline.driver.records import EpochRecord, TrialRecord, best_trials
from pipeline.driver.rows import RowPlan, objectives_of
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import (
    end_of,
    epoch_record,
    make_record,
    start_of,
    tracked_metrics,
)
from pipeline.evaluation.evaluate import only
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.records import RunRecord, TrialEnd, TrialStart, now_ms
from pipeline.tracking.tracker import Tracker
from pipeline.training.devices import CPU, device_title
from pipeline.training.members import EpochResult, Member, Trained


def open_parent(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    tracker: Tracker,
    device: torch.device = CPU,
) -> str:
    """Opens the parent run of a search and returns its id."""
    record = folder.record()
    spec = study.spec
    run_id = tracker.start_study(
        spec.name,
        study.text,
        prepared,
        params={
            **{path: str(found) for path, found in study.ranges.items()},
            "search.sampler": spec.search.sampler,
            "search.pruner": pruner_name(spec.search),
            "search.order": spec.search.order,
            "seed": spec.seed,
        },
        searched=searched_params(study, prepared),
        tags={"device": device_title(device)},
        resume_run_id=record.get("run_id"),
    )
    # Until it ends, the search has no state: a kill must not leave that of an earlier launch.
    kept = {key: value for key, value in record.items() if key != "state"}
    folder.save_record({**kept, "run_id": run_id})
    return run_id


def searched_params(study: Study, prepared: Prepared) -> list[str]:
    """Returns the parameters of a trial's run that differ between trials.

    Of loss weights those that count, `lambda.TASK`, in place of the ratios that are searched.
    """
    ratios = [path for path in study.ranges if path.startswith("weights.values.")]
    weights = [f"lambda.{task.name}" for task in prepared.tasks] if ratios else []
    return [*weights, *(path for path in study.ranges if path not in ratios)]


class TrialRuns:
    """The runs of one row's trials, or of the finalists of one of its trials.

    Args:
        study: The study.
        prepared: Its data.
        folder: The row's files.
        tracker: Records the runs.
        row: The row.
        finalists_of: Trial whose finalists these are; members are then numbered by replicate.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        folder: StudyFolder,
        tracker: Tracker,
        row: RowPlan,
        finalists_of: int | None = None,
    ) -> None:
        self._study = study
        self._prepared = prepared
        self._folder = folder
        self._tracker = tracker
        self._row = row
        self._trial = finalists_of
        self._run_ids: dict[int, str] = {}
        self._history: dict[int, list[EpochRecord]] = {}

    def mend(self, runs: Sequence[RunRecord]) -> None:
        """Mends what a killed driver left of the row's trials and of all their finalists.

        Runs of attempts that will be made again are discarded; runs of trials that have ended,
        but were not written to their end, are written again.

        Args:
            runs: All child runs of the study.
        """
        own = [run for run in runs if run.row in (run_tag(self._row), finalist_tag(self._row))]
        ended = {record.run_id: record
                 for record in self._folder.ended()}  # fmt: skip
        self._tracker.discard([run.run_id for run in own if run.run_id not in ended])
        self.write_again(
            [ended[run.run_id] for run in own
             if run.run_id in ended and run.status == "RUNNING"]
        )  # fmt: skip
        if self._row.is_tuned:
            self._follow_best(self._folder.trials())  # what is there already stays as it is

    def write_again(self, behind: Sequence[TrialRecord]) -> None:
        """Writes runs to the end that their trials have; what is there already stays."""
        for record in behind:
            self._tracker.reopen(record.run_id, self._start_again(record))
            for epoch in record.history:
                self._tracker.log_epoch(
                    record.run_id, epoch.epoch, tracked_metrics(epoch), epoch.timestamp_ms
                )
        self.end(behind)

    def start(self, members: Sequence[Member], params: Mapping[int, Params]) -> None:
        """Opens a run for each member, given its values by number."""
        starts = [self._start(member, params[member.number]) for member in members]
        self._run_ids |= self._tracker.start_trials(starts)
        self._history |= {member.number: [] for member in members}

    def discard(self, members: Sequence[Member]) -> None:
        """Deletes the runs of members that start again."""
        self._tracker.discard([self._run_ids.pop(member.number) for member in members])

    def epochs(self, results: Sequence[EpochResult]) -> None:
        """Notes what members did in an epoch."""
        timestamp_ms = now_ms()
        for result in results:
            epoch = epoch_record(result, self._prepared, timestamp_ms, self._row.tasks)
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
        """Returns the records of members that have ended; the row's own tasks count.

        They end later than those before them, whatever the machine's clock does: the time tells
        the order in which trials ended.
        """
        ended_ms = max([now_ms(), *(trial.ended_ms + 1 for trial in self._folder.trials())])
        records = []
        for member, result in zip(members, trained, strict=True):
            record = make_record(
                member, result, self._prepared, params[member.number],
                self._history[member.number], self._run_ids[member.number], ended_ms,
            )  # fmt: skip
            if record.evaluation is not None:
                record = replace(record, evaluation=only(record.evaluation, self._row.tasks))
            record = replace(record, objectives=objectives_of(self._study, self._row))
            if self._trial is not None:
                record = replace(record, number=self._trial, replicate=member.number)
            records.append(record)
        return records

    def end(self, trials: Sequence[TrialRecord]) -> None:
        """Ends runs; those of the study's own trials add to the parent's best-so-far curves."""
        for trial in trials:
            self._tracker.finish(trial.run_id, end_of(trial))
        ended = {trial.run_id for trial in trials}
        for number in [number for number, run_id in self._run_ids.items() if run_id in ended]:
            del self._run_ids[number], self._history[number]
        if self._row.is_tuned and self._trial is None:
            self._follow_best([trial for trial in trials if not trial.replicate])

    def _start(self, member: Member, params: Params) -> TrialStart:
        if self._trial is None:
            return self._start_of(member, params, f"#{member.number}", run_tag(self._row))
        label = f"#{self._trial} seed {member.number}"
        start = self._start_of(member, params, label, finalist_tag(self._row))
        tags = {"trial": str(self._trial), "replicate": str(member.number)}
        return replace(start, tags=tags)

    def _start_of(self, member: Member, params: Params, label: str, tag: str | None) -> TrialStart:
        name = label if self._row.is_tuned else f"{self._row.name} {label}"
        return start_of(member, self._prepared, params, name, tag)

    def _start_again(self, record: TrialRecord) -> TrialStart:
        member = self._row.member(
            self._study, self._prepared, record.number, record.params, record.replicate
        )
        tag = finalist_tag(self._row) if record.replicate else run_tag(self._row)
        return self._start_of(member, record.params, record.label, tag)

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
            if trial.objectives:
                metrics["best/hypervolume"] = front_volume(self._prepared, ended[: step + 1])
            self._tracker.study_progress(step, metrics, trial.ended_ms)

    def interrupt(self, reason: str) -> None:
        """Ends the runs of members that were training; they run again on resume."""
        kept = self._folder.ended()
        ended = {record.run_id for record in kept}
        for run_id in set(self._run_ids.values()) - ended:
            self._tracker.finish(run_id, TrialEnd("interrupted", reason))


def run_tag(row: RowPlan) -> str | None:
    """Returns the tag `row` of a row's trials; the study's own trials have none."""
    return None if row.is_tuned else row.name


def finalist_tag(row: RowPlan) -> str:
    """Returns the tag `row` of a row's finalists."""
    return "finalist" if row.is_tuned else f"{row.name}-finalist"
