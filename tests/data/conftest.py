"""Small studies and tables for the tests of stage 1."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.study.loading import parse_study
from pipeline.study.spec import StudySpec

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

_STUDY = """
name: small
sources: {people: {path: people.csv}}
tasks:
  rich: {kind: binary, target: rich}
  size: {kind: regression, target: size}
"""


@pytest.fixture
def small_spec() -> Callable[..., StudySpec]:
    """Returns a study of `people`, with some keys changed by dotted path."""

    def build(text: str = _STUDY, /, **changes: object) -> StudySpec:
        return parse_study(
            text, overrides={k.replace("__", "."): v for k, v in changes.items()}
        ).spec

    return build


@pytest.fixture
def people() -> Callable[..., pd.DataFrame]:
    """Returns a table of people whose columns are of every type."""

    def build(n_rows: int = 200, seed: int = 0) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        age = random.normal(40, 10, n_rows).round(1)
        return pd.DataFrame({
            "age": np.where(random.random(n_rows) < 0.1, np.nan, age),
            "height": random.normal(170, 10, n_rows),
            "town": random.choice(["Ulm", "Bonn", "Kiel"], n_rows),
            "member": random.choice(["yes", "no"], n_rows),
            "rich": random.choice(["poor", "rich"], n_rows),
            "size": random.normal(0, 1, n_rows),
        })  # fmt: skip

    return build


@pytest.fixture
def shared_data() -> Path:
    """Returns the folder of the shared real data, or skips the test."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data in {SHARED}, which is absent")
    return SHARED
