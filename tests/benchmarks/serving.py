"""A served model beside the same model in this process, and beside an empty one.

An empty model answers a constant: what a request to it takes is what HTTP, JSON and MLflow's
server take. It is served by the same code as the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import pandas as pd
from rich.table import Table

from pipeline import load_model, search
from pipeline.driver.backend import one_thread
from pipeline.serving.listening import HOST
from pipeline.serving.loading import LoadedModel
from pipeline.serving.server import example_request, listen, make_app, serve
from tests.benchmarks.quickstart import named, silent

ROWS = (1, 100, 1000)
BLOCK = 20  # requests in a row before the other is asked
HEADERS = {"Content-Type": "application/json"}


def serve_empty() -> None:
    """Serves a model that reads nothing and answers one number a row."""

    def predict(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"answer": 0.5}, index=frame.index)

    schema = SimpleNamespace(input_names=list)
    metadata = SimpleNamespace(get_input_schema=lambda: schema)
    empty = LoadedModel("empty", "", "", "", SimpleNamespace(metadata=metadata, predict=predict))
    with listen(None) as taken:
        print(f"empty answers at http://{HOST}:{taken.getsockname()[1]}", flush=True)
        serve(make_app(empty), taken)


@contextmanager
def serving(*command: str) -> Iterator[HTTPConnection]:
    """Starts a server in a process of its own and gives a connection that stays open."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        connection = HTTPConnection(HOST, port, timeout=60)
        yield connection
        connection.close()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def ask(connection: HTTPConnection, body: str) -> int:
    """Sends one request and returns how many rows were answered."""
    connection.request("POST", "/invocations", body, HEADERS)
    response = connection.getresponse()
    found = json.loads(response.read())
    assert response.status == 200, found
    return len(found["predictions"])


def milliseconds(actions: dict[str, Callable[[], object]], n_calls: int) -> dict[str, Any]:
    """Times actions in turns, a block of calls each; returns their median and 95th percentile."""
    for action in actions.values():
        for _ in range(BLOCK):
            action()
    times: dict[str, list[float]] = {name: [] for name in actions}
    while len(times[next(iter(times))]) < n_calls:
        for name, action in actions.items():
            for _ in range(BLOCK):
                started = time.perf_counter()
                action()
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: {"p50": median(found), "p95": quantiles(found, n=20)[-1]}
            for name, found in times.items()}  # fmt: skip


def compare_served(
    uri: str, store: Path, n_calls: int = 400, sizes: tuple[int, ...] = ROWS
) -> list[dict[str, Any]]:
    """Times a recorded model, served and in this process, on requests of several sizes."""
    model = load_model(uri, store)
    one = example_request(model)["dataframe_split"]
    found = []
    empty = "from tests.benchmarks.serving import serve_empty; serve_empty()"
    with (
        one_thread(),
        serving("-m", "pipeline.cli", "serve", uri, "--store", str(store)) as real,
        serving("-c", empty) as nothing,
    ):
        for n_rows in sizes:
            split = {**one, "data": one["data"] * n_rows}
            frame = pd.DataFrame(split["data"], columns=split["columns"])
            body = json.dumps({"dataframe_split": split})
            assert ask(real, body) == ask(nothing, body) == n_rows
            actions = {
                "served": lambda body=body: ask(real, body),
                "empty": lambda body=body: ask(nothing, body),
                "process": lambda frame=frame: model.predict(frame),
            }
            times = milliseconds(actions, n_calls)
            bound = 2 * times["process"]["p50"] + times["empty"]["p50"]
            found.append({"rows": n_rows, "columns": len(one["columns"]), **times, "bound": bound})
    return found


def bench_serving(n_calls: int = 400, sizes: tuple[int, ...] = ROWS) -> list[dict[str, Any]]:
    """Searches the quickstart study for a moment and times the model of its best trial."""
    with tempfile.TemporaryDirectory() as folder:
        found = search(named("served"), 2, store=Path(folder), say=silent)
        return compare_served(found["best"]["run_id"], Path(folder), n_calls, sizes)


def serving_table(rows: list[dict[str, Any]]) -> Table:
    title = f"One request, milliseconds (p50, p95 in brackets); {rows[0]['columns']} columns"
    table = Table(title=title, title_justify="left")
    for column in ("rows", "over HTTP", "in process", "HTTP, empty model", "2 x process + empty"):
        table.add_column(column, justify="right")
    for row in rows:
        shown = [f"{row[who]['p50']:.1f} ({row[who]['p95']:.1f})"
                 for who in ("served", "process", "empty")]  # fmt: skip
        table.add_row(str(row["rows"]), *shown, f"{row['bound']:.1f}")
    return table
