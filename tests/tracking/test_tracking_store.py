import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import pipeline.tracking
from pipeline.errors import StoreError
from pipeline.serving.connection import local_path, sqlite_uri
from pipeline.tracking.store import Store, open_store

ROOT = Path(__file__).parents[2]


def test_a_new_store_has_its_folders_and_its_gitignore(store: Store) -> None:
    assert store.studies.is_dir()
    assert store.cache.is_dir()
    rules = (store.folder / ".gitignore").read_text()
    assert rules == (ROOT / "mlruns.gitignore").read_text()


def test_the_packaged_rules_are_those_of_the_repository() -> None:
    packaged = Path(pipeline.tracking.__file__).with_name("mlruns.gitignore")
    assert packaged.read_text() == (ROOT / "mlruns.gitignore").read_text()


def test_git_ignores_a_store(store: Store, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "mlruns" / "cache").mkdir(parents=True)
    (tmp_path / "mlruns" / "mlflow.db").touch()
    (tmp_path / "mlruns" / "cache" / "x.npy").touch()
    (tmp_path / "mlruns" / ".gitignore").write_text((store.folder / ".gitignore").read_text())
    status = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, capture_output=True, check=True
    )
    assert status.stdout.decode().split() == ["??", "mlruns/.gitignore"]


def test_the_database_writes_ahead(store: Store) -> None:
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_keeps_what_is_there(store: Store) -> None:
    experiment = store.client().create_experiment("kept", store.artifact_location("kept"))
    again = open_store(store.folder)
    assert again == store
    assert again.client().get_experiment(experiment).name == "kept"


def test_a_folder_that_cannot_be_made_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--store DIR") as error:
        open_store(tmp_path / "file" / "mlruns")
    assert str(tmp_path / "file" / "mlruns") in str(error.value)


def test_a_file_tracking_uri_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Found file:///tmp/runs"):
        open_store(tmp_path / "store", "file:///tmp/runs")
    assert not (tmp_path / "store").exists()


def test_a_server_keeps_its_own_database_and_artifacts(tmp_path: Path) -> None:
    store = open_store(tmp_path, "http://127.0.0.1:1")
    assert not store.is_local
    assert store.artifact_location("study") is None
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with space", "100%41 done", "a?b#c"])
def test_odd_paths_work_and_leave_no_twin(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / name / "mlruns")
    client = store.client()
    run = client.create_run(client.create_experiment("odd", store.artifact_location("odd")))
    client.log_text(run.info.run_id, "text", "note.txt")
    (written,) = store.artifacts.rglob("note.txt")
    assert written.read_text() == "text"
    assert local_path(run.info.artifact_uri) == written.parent
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (store.folder / "mlflow.db").stat().st_size > 0


def test_the_uri_of_a_plain_path_is_plain(tmp_path: Path) -> None:
    assert sqlite_uri(tmp_path / "mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.slow
def test_two_processes_open_one_fresh_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.tracking.store import open_store\n"
        "print(len(open_store(Path(sys.argv[1])).client().search_experiments()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "fresh")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert [out.decode().strip() for out, _ in answers] == ["1", "1"]


@pytest.mark.slow
def test_a_creation_that_was_killed_starts_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE experiments (half INTEGER)")
    (tmp_path / ".creating").touch()
    store = open_store(tmp_path)
    assert len(store.client().search_experiments()) == 1
    assert not (tmp_path / ".creating").exists()


def test_a_database_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all, and long enough to be read as one")
    with pytest.raises(StoreError, match=r"mlflow\.db"):
        open_store(tmp_path).client()
