"""Rows of several sources in one batch: a task without labels there leaves the others alone."""

from dataclasses import replace

import numpy as np
from training_data import make_prepared, member, only

from pipeline.data.prepared import Prepared
from pipeline.training.loop import train


def without_labels(prepared: Prepared, task: str) -> Prepared:
    part = prepared.parts["train"]
    empty = {**part.targets, task: np.full_like(part.targets[task], np.nan)}
    return replace(prepared, parts={**prepared.parts, "train": replace(part, targets=empty)})


def test_a_batch_without_labels_of_one_task_trains_the_other_as_if_it_were_alone() -> None:
    data = without_labels(only(make_prepared(), "bought", "colour"), "colour")
    chances = {"dropout": 0.3, "dropout_head": 0.2, "weight_decay": 0.1, "clip": 0.5}
    both = train([member(weights=(1.0, 1.0), **chances)], data)[0]
    alone = train([member(weights=(1.0, 0.0), **chances)], data)[0]
    for name, values in alone.parameters.items():
        np.testing.assert_array_equal(values, both.parameters[name])
