"""What the whole chain says of tasks whose truth is known: 20 draws at each dial."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import SETTINGS, STRONG, TASKS, synthetic_study, synthetic_tables

from pipeline.comparison.baselines import fit_constant
from pipeline.comparison.compare import compare_rows, score_rows
from pipeline.comparison.rows import fitted_row, searched_rows
from pipeline.data.prepare import prepare_data
from pipeline.driver.beside import RowsBeside
from pipeline.driver.launch import SearchOptions
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import RowPlan
from pipeline.driver.search import Description, Search
from pipeline.driver.study_folder import StudyFolder
from pipeline.serving.predictor import Predictor
from pipeline.tracking.tracker import NullTracker

N_DRAWS = 20
N_TRIALS = 4
FINALISTS = {"k": 3, "seeds": 3}

pytestmark = pytest.mark.slow


def compared(dial: float, seed: int, folder: Path) -> dict[str, Any]:
    """Searches one draw and its baselines at equal budget, without MLflow, and compares them."""
    # Every finalist is trained beside the others, the tuned ones too: fewer arrays.
    plain, study = (
        synthetic_study(dial, seed, search__population=64, search__finalists=finalists)
        for finalists in (None, FINALISTS)
    )
    tables = synthetic_tables(dial, seed)
    prepared = prepare_data(study.spec, Path(), folder / "cache", tables=tables)
    files = StudyFolder(folder / "studies", "synthetic")

    def describe(trials: object, state: str) -> Description:
        return pd.DataFrame(), "", {}

    Search(
        plain, prepared, files, NullTracker(), SearchOptions(N_TRIALS), [], describe
    ).run()  # fmt: skip
    RowsBeside(study, prepared, files, NullTracker(), lambda said: None, 1).run()

    def model_of(row: RowPlan, record: TrialRecord) -> Predictor:
        found = (files if row.is_tuned else files.row(row.name)).load_model(record.key)
        assert found is not None
        return found

    rows = searched_rows(study, prepared, files, model_of)
    rows.append(fitted_row(fit_constant(prepared), "constant"))
    scored = score_rows(rows, prepared, "test", seed)
    return compare_rows("synthetic", scored, prepared, "test", 0)


@dataclass(frozen=True)
class Draws:
    """What was said of the draws at one position."""

    verdicts: list[Mapping[str, str]]
    gains: np.ndarray  # (draws, tasks)

    def with_any(self, *verdicts: str) -> int:
        """How many draws have such a verdict on any task."""
        return sum(any(found[task] in verdicts for task in TASKS) for found in self.verdicts)


@pytest.mark.parametrize("dial", SETTINGS)
def test_verdicts_have_the_sign_of_the_truth(dial: float, tmp_path: Path) -> None:
    found = [compared(dial, seed, tmp_path / str(seed)) for seed in range(N_DRAWS)]
    draws = Draws(
        [document["verdicts"] for document in found],
        np.array([[document["gains"][task]["gain"] for task in TASKS] for document in found]),
    )
    right, wrong = ("together", "alone") if dial > 0 else ("alone", "together")
    print(
        f"dial {dial:g}: mean gain {draws.gains.mean():+.3f}, draws with a verdict together "
        f"{draws.with_any('together')}, alone {draws.with_any('alone')} of {N_DRAWS}"
    )
    if dial == 0:
        assert draws.with_any("together", "alone", "neither") <= 1
        return
    assert draws.with_any(wrong) <= 1
    assert (np.sign(draws.gains.mean(1)) != np.sign(dial)).sum() <= 1
    if dial in STRONG:
        assert draws.with_any(right) >= 16
