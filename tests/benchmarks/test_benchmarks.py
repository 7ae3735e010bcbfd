"""The benchmark measures alike: every competitor trains the same thing, and says what it took."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.table import Table

from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member
from pipeline.tracking.store import open_store
from pipeline.training.loop import train
from tests.benchmarks.bench import bench_gpu, gpu_cell, gpu_table, measure, reached
from tests.benchmarks.overhead import (
    bench_driver,
    bench_long,
    bench_shares,
    overhead_table,
)
from tests.benchmarks.serving import bench_serving
from tests.benchmarks.stock import train_plainly, train_with_loader, weights_of
from tests.benchmarks.workload import N_TASKS, Workload

TINY = Workload(width=16, batch=32, epochs=3, n_train=512)
PARAMS = {"dropout": 0.05, "lr": 1e-2, "weight_decay": 1e-4, "w1": 2.0, "w2": 0.5, "w3": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench")
    TINY.write_table(made)
    open_store(made / "store")
    return made


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return TINY.prepared(folder)


def test_all_loops_learn_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    work = Workload(width=32, batch=64, epochs=6, n_train=2048)
    work.write_table(tmp_path)
    prepared, study = work.prepared(tmp_path), work.study(tmp_path)
    weights = weights_of(PARAMS)
    values = {
        "model.dropout": PARAMS["dropout"], "train.lr": PARAMS["lr"],
        "train.weight_decay": PARAMS["weight_decay"],
        **{f"weights.values.t{t}": PARAMS[f"w{t}"] for t in range(1, N_TASKS)},
    }  # fmt: skip
    one = make_member(study, prepared, 0, values)
    assert one.weights == pytest.approx(tuple(weights))
    assert set(values) == set(study.ranges)
    (ours,) = train([one], prepared)
    seen = []
    scores = [
        ours.score,
        train_plainly(work, prepared.parts, PARAMS),
        train_with_loader(
            work, prepared.parts, PARAMS,
            lambda losses: (torch.tensor(weights) * losses).sum(),
            lambda epoch, losses, found: seen.append((epoch, losses, found)),
        ),
    ]  # fmt: skip
    assert [epoch for epoch, _, _ in seen] == list(range(1, 7))
    assert ours.epochs == 6
    assert min(scores) > 0.4  # guessing one of five gives 0.2
    assert max(scores) - min(scores) < 0.08


@pytest.mark.parametrize("name", ["a", "a-pruned", "b", "c", "d", "e64-untracked", "e-free"])
def test_every_competitor_says_what_it_took(folder: Path, prepared: Prepared, name: str) -> None:
    found = measure(name, TINY, folder, 2)
    assert found["trials"] == 2
    assert found["seconds"] > 0
    assert found["megabytes"] > 100
    assert len(found["ends"]) == 2
    for at, score in found["ends"]:
        # Ours count from before the workers start.
        assert 0 < at <= found.get("whole_seconds", found["seconds"])
        assert 0.1 < score < 1
    assert max(score for _, score in found.get("seen", found["ends"])) == pytest.approx(
        max(score for _, score in found["ends"])
    )
    assert len(found.get("seen", range(2 * TINY.epochs))) == 2 * TINY.epochs


def test_the_gpu_part_says_why_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = bench_gpu(1, [TINY])
    assert found["skipped"].startswith("`--device cuda` needs a GPU. Found none")
    assert str(gpu_table(found)).startswith("GPU part skipped. `--device cuda` needs a GPU.")


def test_a_cell_of_the_gpu_part_compares_with_trials_one_by_one() -> None:
    cell = gpu_cell(TINY, 1, "cpu", {"b-one": 2, "e64": 4})
    rates = cell["per_minute"]
    assert rates.keys() == {"b-one", "e64"}
    (run,) = cell["runs"]["e64"]
    assert run["trained_on"] == ["cpu"]
    assert run["population"] > 1
    table = gpu_table({"device": "a GPU", "torch": "2", "cells": [cell]})
    assert isinstance(table, Table)
    assert list(table.columns[-1].cells) == ["1.0", f"{rates['e64'] / rates['b-one']:.1f}"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds none here")
def test_the_gpu_part_trains_on_the_gpu() -> None:
    cell = gpu_cell(TINY, 1, "cuda", {"b-one": 2, "e64": 64})
    assert cell["runs"]["e64"][0]["trained_on"] == ["cuda"]


def test_a_score_is_reached_at_the_first_trial_that_has_it() -> None:
    ends = [[1.0, 0.5], [3.0, 0.8], [2.0, 0.7]]
    assert reached(ends, 0.7) == 2.0
    assert reached(ends, 0.9) is None


@pytest.mark.slow
def test_a_served_model_is_timed_beside_an_empty_one() -> None:
    (row,) = bench_serving(n_calls=20, sizes=(2,))
    assert row["rows"] == 2
    assert 0 < row["empty"]["p50"] < row["bound"]
    assert 0 < row["process"]["p50"] < row["served"]["p95"]


def test_what_a_search_costs_beside_training_is_measured() -> None:
    found = {
        "long": bench_long(1, seconds=0.05, n_trials=2, workload=TINY),
        "shares": bench_shares(3, TINY),
        "driver": bench_driver((10, 20), TINY),
    }
    long, shares, driver = found["long"], found["shares"], found["driver"]
    assert long["epochs"] >= 1
    assert 0 < long["trial_seconds"] < long["seconds_with"] + long["seconds_without"]
    assert long["cost"] == pytest.approx(long["seconds_with"] / long["seconds_without"] - 1)
    assert 0 < shares["asking"] < 1
    assert 0 < shares["evaluating"] < 1
    assert shares["tracking"] > 0  # of a study this small, what is written at its end is more
    assert [row["trials"] for row in driver] == [10, 20]
    assert 0 < driver[0]["seconds"] < driver[1]["seconds"]
    assert overhead_table(found).row_count == 6
