import dataclasses

import numpy as np
import pytest

from pipeline.data.prepared import Prepared
from pipeline.tracking.datasets import dataset_inputs, part_digest


@pytest.mark.parametrize("changed", ["numeric", "codes", "ids", "targets"])
def test_the_digest_sees_the_last_row_of_everything(small_prepared: Prepared, changed: str) -> None:
    part = small_prepared.parts["train"]
    before = part_digest(part)
    if changed == "targets":
        targets = {task: values.copy() for task, values in part.targets.items()}
        targets["hours"][-1] += 1
        other = dataclasses.replace(part, targets=targets)
    else:
        array = getattr(part, changed).copy()
        array[-1] = b"other" if changed == "ids" else array[-1] + 1
        other = dataclasses.replace(part, **{changed: array})
    assert part_digest(other) != before
    assert part_digest(part) == before


def test_an_empty_input_has_a_digest(small_prepared: Prepared) -> None:
    part = small_prepared.parts["valid"]
    empty = dataclasses.replace(part, codes=np.empty((len(part), 0), np.int32))
    assert part_digest(empty) != part_digest(part)


def test_many_files_fit_into_what_mlflow_takes(small_prepared: Prepared) -> None:
    sources = {"people": {"path": ["x" * 100] * 2000}}
    report = dataclasses.replace(small_prepared.report, sources=sources)
    for found in dataset_inputs("any", dataclasses.replace(small_prepared, report=report)):
        assert len(found.dataset.source) < 65535
        assert len(found.dataset.digest) <= 36
