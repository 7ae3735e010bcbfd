"""The benchmark of cached features counts what it says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from encoder_cases import model_folder

from tests.benchmarks.features import Texts, bench_features, features_table, per_hour


def test_trials_an_hour() -> None:
    found = per_hour(10, search_seconds=20, prepare_seconds=80, encoding_seconds=400)
    assert found == {"cached": 1800, "cached_and_prepared": 360, "encoding": 9, "times": 200}


@pytest.mark.slow
def test_both_studies_are_measured(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    words = {"sea": ["boat", "wave", "fish"], "wood": ["tree", "leaf", "owl"]}
    labels = draw.choice(list(words), 80)
    bodies = [" ".join(draw.choice(words[label], 8)) for label in labels]
    pd.DataFrame({"text": bodies, "label": labels}).to_csv(tmp_path / "t.csv", index=False)
    texts = Texts(tmp_path / "t.csv", "text", "label", model_folder(), 16, trials=2, epochs=2)
    found = bench_features(texts)
    assert 60 <= found["documents"] <= 68  # train and valid of 80
    assert 1 <= found["epochs"] <= 2
    expected = found["documents"] * found["epochs"] / found["encoded_per_second"]
    assert found["encoding"] == pytest.approx(3600 / expected)
    assert found["cached"] == pytest.approx(2 * 3600 / found["search_seconds"])
    assert features_table(found).row_count == 4
