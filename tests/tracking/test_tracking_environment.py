import subprocess
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from pipeline.tracking import environment
from pipeline.tracking.environment import collect_environment, read_git


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "First")
    return tmp_path


def test_a_clean_tree(repository: Path) -> None:
    found = read_git(repository)
    assert found is not None
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert (found.branch, found.dirty, found.diff, found.untracked) == ("trunk", False, "", ())


def test_a_change_makes_it_dirty_also_from_a_folder_below(repository: Path) -> None:
    (repository / "code.py").write_text("a = 2\n")
    (repository / "below").mkdir()
    found = read_git(repository / "below")
    assert found is not None
    assert found.dirty
    assert "-a = 1\n+a = 2\n" in found.diff


def test_a_new_file_makes_it_dirty_and_is_listed(repository: Path) -> None:
    (repository / "new.py").touch()
    found = read_git(repository)
    assert found is not None
    assert found.dirty
    assert found.untracked == ("new.py",)


def test_a_long_diff_is_cut(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_DIFF_LIMIT", 100)
    (repository / "code.py").write_text("b\n" * 1000)
    found = read_git(repository)
    assert found is not None
    assert len(found.diff) < 200
    assert "cut: the diff has" in found.diff


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    found = read_git(tmp_path)
    assert found is not None
    assert (found.commit, found.dirty) == ("", False)


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_git(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert read_git(tmp_path) is None


def test_the_versions_are_those_installed(tmp_path: Path) -> None:
    found = collect_environment(tmp_path).to_json()
    assert found["packages"]["numpy"] == version("numpy")
    assert found["packages"] == {dist.name: dist.version for dist in distributions() if dist.name}
    assert "git" not in found
