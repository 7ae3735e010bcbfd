"""A table of any length is answered as if it were in memory, or not at all."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import load_model
from pipeline.data.readers import read_table
from pipeline.errors import DataError, InputError
from pipeline.promotion.registry import move_alias, register
from pipeline.stages.predicting import predict_table
from pipeline.tracking.models import log_model
from pipeline.tracking.store import Store

URI = "streamed@champion"
AGES = np.array([18.0, 33.5, 90.0])
WEIGHTS = np.array([55, 70, 95])
CITIES = np.array(["Bern", "Bonn", "3", "Basel"])


@pytest.fixture
def model(store: Store, make_predictor: Callable) -> str:
    """A registered model; the same for all tests."""
    client = store.client()
    if client.get_experiment_by_name("streamed") is None:
        made = client.create_experiment("streamed", store.artifact_location("streamed"))
        run_id = client.create_run(made).info.run_id
        model_id = log_model(client, run_id, make_predictor(), None, None)
        version = register(client, "streamed", model_id, run_id, {}, "")
        move_alias(store, client, "streamed", "champion", version, expected=None)
    return URI


def write_table(path: Path, n_rows: int) -> Path:
    """Writes rows a few at a time, whatever their number."""
    draw = np.random.default_rng(0)
    for start in range(0, n_rows, 50_000):
        n = min(50_000, n_rows - start)
        rows = pd.DataFrame(
            {"age": draw.choice(AGES, n), "weight": draw.choice(WEIGHTS, n),
             "city": draw.choice(CITIES, n), "other": draw.normal(size=n)}
        )  # fmt: skip
        rows.to_csv(path, mode="a" if start else "w", header=not start, index=False)
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl.gz", "parquet"])
def test_chunks_answer_as_the_whole(store: Store, model: str, tmp_path: Path, form: str) -> None:
    table, output = write_table(tmp_path / "in.csv", 50), tmp_path / f"out.{form}"
    table.write_text(table.read_text() + ",,,\n")
    said: list[str] = []
    assert predict_table(model, table, output, store, say=said.append, size=7) == 51
    expected = load_model(model, store).predict(pd.read_csv(table))
    pd.testing.assert_frame_equal(
        read_table(output), expected, check_dtype=False, check_index_type=False, rtol=1e-6
    )
    assert said == [], "what is done in a moment needs no word"


def test_a_text_in_a_column_of_numbers_is_named_with_its_row(
    store: Store, model: str, tmp_path: Path
) -> None:
    table, output = write_table(tmp_path / "in.csv", 50), tmp_path / "out.csv"
    output.write_text("before")
    lines = table.read_text().splitlines()
    lines[33] = "thirty,70,Bern,0.5"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"Column `age` .* Found 'thirty' in row 33 .* Mend"):
        predict_table(model, table, output, store, size=10)
    assert output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_missing_column_is_named_with_what_may_be_meant(
    store: Store, model: str, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "in.csv", 5)
    table.write_text(table.read_text().replace("weight", "weights", 1))
    with pytest.raises(
        DataError, match=r"lacks the input columns `weight`\. Is `weight` there as `weights`\?"
    ):
        predict_table(model, table, tmp_path / "out.csv", store)
    assert not (tmp_path / "out.csv").exists()


def test_a_table_is_not_written_over_itself(store: Store, model: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.csv", 5)
    before = table.read_bytes()
    with pytest.raises(InputError, match="is the table itself"):
        predict_table(model, table, table, store)
    assert table.read_bytes() == before


def test_a_table_without_rows_gets_an_answer_without_rows(
    store: Store, model: str, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "in.csv", 1)
    table.write_text(table.read_text().splitlines()[0] + "\n")
    assert predict_table(model, table, tmp_path / "out.csv", store) == 0
    assert "income_proba_high" in (tmp_path / "out.csv").read_text()


PEAK = """
import json, sys
from pathlib import Path
from tests.memory import peak_bytes
from pipeline.stages.predicting import predict_table
model, table, output, store = sys.argv[1:]
n_rows = predict_table(model, Path(table), Path(output), store)
print(json.dumps([n_rows, peak_bytes()]))
"""


def peak_of(store: Store, model: str, table: Path, output: Path) -> float:
    """Returns the largest memory of a fresh process that answers a table, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, model, str(table), str(output), str(store.folder)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return float(json.loads(done.stdout.splitlines()[-1])[1]) / 2**20


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(store: Store, model: str, tmp_path: Path) -> None:
    peaks = {
        n_rows: peak_of(
            store, model, write_table(tmp_path / f"{n_rows}.csv", n_rows), tmp_path / "out.csv"
        )
        for n_rows in (20_000, 300_000)
    }
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 300_001
    # The rows more take 70 MB as a frame, and their answers as much again.
    assert peaks[300_000] - peaks[20_000] < 30, peaks
    assert peaks[300_000] < 1024, peaks
