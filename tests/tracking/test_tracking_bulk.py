"""The two ways of writing runs, side by side: many at once, and MLflow's client."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import ViewType

from pipeline.errors import StoreError
from pipeline.tracking import bulk as bulk_module
from pipeline.tracking import runs
from pipeline.tracking.bulk import REVISION, Bulk, open_bulk
from pipeline.tracking.changes import Change, NewRun
from pipeline.tracking.store import Store

TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")


@pytest.fixture(scope="module")
def client(store: Store) -> MlflowClient:
    return store.client()


@pytest.fixture(scope="module")
def bulk(store: Store) -> Iterator[Bulk]:
    opened = open_bulk(store.tracking_uri)
    assert opened is not None
    with closing(opened):
        yield opened


@pytest.fixture(scope="module")
def experiment(client: MlflowClient) -> str:
    return str(client.create_experiment("bulk", artifact_location="file:///somewhere/bulk%20x"))


def new_run(name: str = "#1", **tags: str) -> NewRun:
    return NewRun(name, {"mlflow.user": "ann", "state": "running", **tags}, started_ms=1000)


def table_rows(store: Store, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that MLflow's tables hold of a run, as if all runs had one id."""
    found = {}
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as connection:
        for table in TABLES:
            cursor = connection.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))
            columns = sorted(column[0] for column in cursor.description)
            picked = ", ".join(f'"{column}"' for column in columns)
            rows = connection.execute(f"SELECT {picked} FROM {table} WHERE run_uuid = ?", (run_id,))
            found[table] = sorted(
                tuple(v.replace(run_id, "ID") if isinstance(v, str) else v for v in row)
                for row in rows
            )
            assert columns, table
    return found


def seen_by_the_client(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """Everything that MLflow's client says of a run, as if all runs had one id."""
    run = client.get_run(run_id)
    histories = {
        key: [
            (point.step, point.timestamp, repr(point.value))
            for point in client.get_metric_history(run_id, key)
        ]
        for key in run.data.metrics
    }
    (found,) = client.search_runs(
        [run.info.experiment_id], f"attributes.run_id = '{run_id}'", ViewType.ALL
    )
    told = repr((run.to_dictionary(), found.to_dictionary(), histories))
    return {"told": told.replace(run_id, "ID")}


def write_both(
    store: Store,
    client: MlflowClient,
    bulk: Bulk,
    experiment: str,
    changes: list[Change],
) -> tuple[str, str]:
    """Opens a run each way, and writes the same changes to both."""
    made = bulk.create(experiment, [new_run()])
    assert made is not None
    (by_client,) = runs.create_runs(client, experiment, [new_run()])
    for change in changes:
        runs.write(client, replace(change, run_id=by_client))
        assert bulk.write([replace(change, run_id=made[0])]) == []
    assert table_rows(store, made[0]) == table_rows(store, by_client)
    return made[0], by_client


def test_both_ways_leave_the_same_records(
    store: Store, client: MlflowClient, bulk: Bulk, experiment: str
) -> None:
    params = {"train.lr": 0.1, "layers": [64, 64], "none": None, "empty": "", "é x:/y": "ü"}
    first = Change("", params=params, tags={"long": "x" * 9000, "note": "a"})
    for epoch in range(3):
        first.add({"score": epoch / 3, "valid/a b:c/r2": -1.5, "loss": math.nan}, epoch, 2000)
    second = Change("", tags={"note": "b", "state": "complete"})
    second.add({"score": 0.25, "seconds/train": 3}, 2, 3000)  # a later time at the same step
    second.add({"loss": 0.5}, 1, 9000)  # a smaller step
    second.metrics.append(("endless", math.inf, 2000, 0))
    second.metrics.append(("endless", -math.inf, 2000, 1))
    second.end("KILLED", 4000, {"reason": ""}, {})
    # Telling all of it again is what happens after a kill; parameters are tested elsewhere.
    again = [replace(first, params={}), second]
    made, by_client = write_both(store, client, bulk, experiment, [first, second, *again])
    assert seen_by_the_client(client, made) == seen_by_the_client(client, by_client)
    run = client.get_run(made)
    assert (run.info.status, run.info.end_time, run.info.start_time) == ("KILLED", 4000, 1000)
    assert run.info.artifact_uri == f"file:///somewhere/bulk%20x/{made}/artifacts"
    assert run.info.user_id == "ann"
    assert run.data.metrics["score"] == 0.25
    assert math.isnan(run.data.metrics["loss"])
    assert len(client.get_metric_history(made, "score")) == 4


POINTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf]),
        st.sampled_from([1, 2]),
        st.sampled_from([-1, 0, 1]),
    ),
    max_size=6,
)


@settings(max_examples=25)
@given(st.lists(POINTS, min_size=1, max_size=3))
@example([[("a", 0.0, 1, 0)], [("a", math.nan, 1, 0)]])  # a tie: NaN counts as 0
@example([[("a", 0.0, 1, 0), ("a", math.nan, 1, 0)]])
@example([[("a", 1.0, 1, 0)], [("a", 0.0, 2, 0)]])
@example([[("a", 1.0, 1, 0), ("a", 0.0, 2, 0)]])
def test_both_ways_agree_on_the_history_and_on_the_latest_value(
    store: Store,
    client: MlflowClient,
    bulk: Bulk,
    experiment: str,
    writes: list[list[tuple[str, float, int, int]]],
) -> None:
    changes = [Change("", metrics=points) for points in writes]
    write_both(store, client, bulk, experiment, changes)


def test_many_runs_are_written_at_once_each_with_its_own(
    client: MlflowClient, bulk: Bulk, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "_ROWS", 7)  # several transactions
    made = bulk.create(experiment, [new_run(f"#{n}", trial=str(n)) for n in range(9)])
    assert made is not None
    changes = []
    for number, run_id in enumerate(made):
        change = Change(run_id, params={"n": number})
        for epoch in range(number):
            change.add({"score": number + epoch}, epoch, 5000 + epoch)
        changes.append(change)
    assert bulk.write(changes) == []
    for number, run_id in enumerate(made):
        run = client.get_run(run_id)
        assert (run.info.run_name, run.data.tags["trial"]) == (f"#{number}", str(number))
        assert run.data.params == {"n": str(number)}
        points = client.get_metric_history(run_id, "score")
        assert [point.value for point in points] == [number + epoch for epoch in range(number)]


def test_groups_stay_below_the_rows_of_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "_ROWS", 5)
    sizes = [2, 3, 1, 9, 1]
    changes = [Change(str(n), params=dict.fromkeys(range(size))) for n, size in enumerate(sizes)]
    groups = [[len(c.params) for c in group] for group in bulk_module._groups(changes)]
    assert groups == [[2, 3], [1], [9], [1]]


@pytest.mark.parametrize(
    "odd",
    [
        {"params": {"x" * 251: 1}},
        {"params": {"long": "x" * 6001}},
        {"params": {"given": "other"}},
        {"tags": {"../up": "x"}},
        {"tags": {"mlflow.runName": "#2"}},
        {"files": {"a.txt": "text"}},
        {"metrics": [("a*b", 1.0, 1, 0)]},
        {"metrics": [("a", 1.0, -1, 0)]},
        {"run_id": "0" * 32},
    ],
    ids=str,
)
def test_what_is_out_of_the_ordinary_is_left_to_the_client(
    client: MlflowClient, bulk: Bulk, experiment: str, odd: dict[str, Any]
) -> None:
    made = bulk.create(experiment, [new_run(), new_run()])
    assert made is not None
    assert bulk.write([Change(made[0], params={"given": "one"})]) == []
    left = Change(**{"run_id": made[0], **odd})
    plain = Change(made[1], tags={"seen": "yes"})
    # A refusal by the database, unlike one before it, leaves the neighbours to the client too.
    assert left in bulk.write([left, plain])
    assert client.get_run(made[0]).data.params == {"given": "one"}
    runs.write(client, plain)
    assert client.get_run(made[1]).data.tags["seen"] == "yes"


def test_a_deleted_run_and_a_deleted_experiment_are_left_to_the_client(
    client: MlflowClient, bulk: Bulk
) -> None:
    experiment = client.create_experiment("bulk-deleted")
    made = bulk.create(experiment, [new_run()])
    assert made is not None
    client.delete_run(made[0])
    change = Change(made[0], tags={"seen": "yes"})
    assert bulk.write([change]) == [change]
    client.delete_experiment(experiment)
    assert bulk.create(experiment, [new_run()]) is None


@pytest.mark.parametrize(
    "odd",
    [
        NewRun("", {}, 1),
        NewRun("#1", {}, 0),
        NewRun("#1", {"mlflow.runName": "#2"}, 1),
        NewRun("#1", {"a*b": "x"}, 1),
    ],
)
def test_a_run_without_plain_name_time_and_tags_is_opened_by_the_client(
    bulk: Bulk, experiment: str, odd: NewRun
) -> None:
    assert bulk.create(experiment, [new_run(), odd]) is None


def test_a_locked_database_is_told_and_nothing_is_half_written(
    store: Store, client: MlflowClient, experiment: str
) -> None:
    database = store.folder / "mlflow.db"
    opened = Bulk(database, busy_seconds=0)
    with closing(opened), closing(sqlite3.connect(database, isolation_level=None)) as other:
        made = opened.create(experiment, [new_run()])
        assert made is not None
        change = Change(made[0], params={"a": 1}, metrics=[("a", 1.0, 1, 0)])
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Writing runs failed: database is locked"):
            opened.write([change])
        with pytest.raises(StoreError, match="Opening runs failed: database is locked"):
            opened.create(experiment, [new_run()])
        other.execute("ROLLBACK")
        assert client.get_run(made[0]).data.params == {}
        assert opened.write([change]) == []
    assert client.get_run(made[0]).data.metrics == {"a": 1.0}


def test_a_refused_transaction_leaves_nothing(
    client: MlflowClient, bulk: Bulk, experiment: str
) -> None:
    made = bulk.create(experiment, [new_run()])
    assert made is not None
    bulk.write([Change(made[0], params={"a": 1})])
    changes = [Change(made[0], params={"b": 2}), Change(made[0], params={"a": 2})]
    assert bulk.write(changes) == changes
    assert client.get_run(made[0]).data.params == {"a": "1"}


def test_only_the_known_tables_of_a_local_file_are_written(store: Store, tmp_path: Path) -> None:
    assert open_bulk("http://127.0.0.1:5000") is None
    assert open_bulk("sqlite:///:memory:") is None
    assert open_bulk(f"{store.tracking_uri}?timeout=1") is None
    assert open_bulk(f"sqlite:///{tmp_path / 'absent.db'}") is None
    assert not (tmp_path / "absent.db").exists()
    for name, revision in {"other": "0" * 12, "known": REVISION}.items():
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
            connection.commit()
    assert open_bulk(f"sqlite:///{tmp_path / 'other'}") is None
    known = open_bulk(f"sqlite:///{tmp_path / 'known'}")
    assert known is not None
    known.close()
