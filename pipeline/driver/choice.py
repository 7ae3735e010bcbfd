"""Which model a search ends with: the median seed of the configuration best over fresh seeds.

The best of many trials owes part of its score to luck. Its configuration and the next ones are
therefore retrained under fresh seeds and replicates (the finalists): the mean valid score over
the seeds chooses the configuration, and its median seed is shipped, neither lucky nor unlucky.
With several objectives the knee takes the place of the mean. Test has no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.evaluation.pareto import order
from pipeline.study.search_spec import FinalistsSpec


@dataclass(frozen=True)
class Choice:
    """What a row ends with.

    Attributes:
        seeds: The chosen configuration's complete finalists, by replicate; the best trial alone
            where nothing was retrained.
        shipped: The one that is shipped.
        candidates: Configurations that were compared, by trial, with their mean valid scores over
            seeds; None for one that has none.
    """

    seeds: tuple[TrialRecord, ...]
    shipped: TrialRecord
    candidates: dict[int, float | None]

    @property
    def retrained(self) -> bool:
        """Whether this is a choice among finalists, not the best trial itself."""
        return self.shipped.replicate > 0

    @property
    def mean(self) -> float:
        """Mean valid score over the seeds."""
        return fmean(_scores(self.seeds))


def configurations(folder: StudyFolder, spec: FinalistsSpec | None) -> list[TrialRecord]:
    """Returns the trials that are retrained, best first."""
    return best_trials(folder.trials(), spec.k) if spec else []


def missing_finalists(folder: StudyFolder, spec: FinalistsSpec | None) -> list[TrialRecord]:
    """Returns the trials that are to be retrained and were not yet."""
    return [trial for trial in configurations(folder, spec)
            if folder.finalists(trial.number) is None]  # fmt: skip


def choose(folder: StudyFolder, spec: FinalistsSpec | None) -> Choice | None:
    """Returns what a row ends with; None where no trial is complete.

    Without finalists, and until all of them have been trained, that is the best trial.
    """
    best = best_trials(folder.trials(), 1)
    if not best:
        return None
    found = {trial.number: folder.finalists(trial.number) for trial in configurations(folder, spec)}
    complete = {number: _complete(finalists or ()) for number, finalists in found.items()}
    if None in found.values() or not any(complete.values()):
        return Choice((best[0],), best[0], {})
    most = max(len(seeds) for seeds in complete.values())
    means = {number: fmean(_scores(seeds)) if seeds else None for number, seeds in complete.items()}
    # A configuration that failed under a seed where others did not is not chosen. Of equals the
    # trial that ranks first stays first.
    able = [number for number, seeds in complete.items() if len(seeds) == most]
    chosen = max(able, key=lambda number: means[number] or 0.0)
    if best[0].objectives:  # the knee again, of the mean scores over seeds
        points = np.array([np.mean([one.values for one in complete[n]], 0) for n in able])
        chosen = able[order(points)[0]]
    seeds = complete[chosen]
    ranked = sorted(seeds, key=lambda record: (record.score, record.replicate))
    shipped = ranked[(len(ranked) - 1) // 2]
    return Choice(tuple(seeds), shipped, means)


def _complete(finalists: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [found for found in finalists if found.state == "complete" and found.score is not None]


def _scores(records: Sequence[TrialRecord]) -> list[float]:
    return [record.score for record in records if record.score is not None]
