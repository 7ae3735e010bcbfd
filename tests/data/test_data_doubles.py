"""Rows whose inputs stand in two parts of the split."""

import numpy as np
import pandas as pd

from pipeline.data.doubles import duplicates
from pipeline.data.hashing import row_hashes


def test_doubled_inputs_are_counted_for_each_pair_of_parts() -> None:
    frame = pd.DataFrame({"x": [1, 1, 2, 2, 3, 3, 4, 1], "w": ["a"] * 8})
    parts = np.array(["train", "train", "train", "test", "valid", "test", "test", "test"])
    counts, repeated = duplicates(row_hashes(frame), parts)
    assert counts == {"train/valid": 0, "train/test": 2, "valid/test": 1}
    assert repeated.tolist() == [True, True, True, False, True, False, False, False]
