"""What a study ran on: Python, packages, machine, and the state of the working directory's git."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

_DIFF_LIMIT = 1_000_000  # characters; a larger diff is data or generated files, not code
_GIT_SECONDS = 10.0
_UNTRACKED_LIMIT = 200


@dataclass(frozen=True)
class Git:
    """The repository of a folder.

    Attributes:
        commit: Of HEAD; empty where nothing is committed yet.
        branch: Empty where HEAD is detached.
        dirty: Whether a tracked file was changed or an untracked one is not ignored.
        diff: Of the tracked files against HEAD, cut after a million characters.
        untracked: Files that git neither tracks nor ignores, at most 200.
    """

    commit: str
    branch: str
    dirty: bool
    diff: str
    untracked: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """What a study ran on; `git` is None outside a repository."""

    python: str
    platform: str
    cpu: str
    n_cpus: int
    packages: dict[str, str] = field(repr=False)
    git: Git | None = None
    accelerator: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values, without the diff, which has a file of its own."""
        values: dict[str, Any] = {
            "python": self.python,
            "platform": self.platform,
            "cpu": self.cpu,
            "n_cpus": self.n_cpus,
            "accelerator": self.accelerator,
            "packages": self.packages,
        }
        if self.git is not None:
            values["git"] = {
                "commit": self.git.commit,
                "branch": self.git.branch,
                "dirty": self.git.dirty,
                "untracked": list(self.git.untracked),
            }
        return values


def collect_environment(folder: Path) -> Environment:
    """Looks at this process, this machine, and the repository that `folder` stands in."""
    found = dict(filter(None, map(_package, distributions())))
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu(),
        n_cpus=os.cpu_count() or 1,
        packages=dict(sorted(found.items(), key=lambda item: item[0].lower())),
        git=read_git(folder),
        accelerator=_accelerator(),
    )


def read_git(folder: Path) -> Git | None:
    """Reads the repository that `folder` stands in; None where there is none, or no git."""
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    if status is None:
        return None
    untracked = [line[3:] for line in status.splitlines() if line.startswith("??")]
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") or ""
    if len(diff) > _DIFF_LIMIT:
        diff = f"{diff[:_DIFF_LIMIT]}\n... cut: the diff has {len(diff)} characters\n"
    return Git(
        commit=(_git(folder, "rev-parse", "--verify", "HEAD") or "").strip(),
        branch=(_git(folder, "symbolic-ref", "--short", "-q", "HEAD") or "").strip(),
        dirty=bool(status.strip()),
        diff=diff,
        untracked=tuple(untracked[:_UNTRACKED_LIMIT]),
    )


def _package(found: Distribution) -> tuple[str, str] | None:
    # Its properties `name` and `version` each parse the whole text, with the package's readme.
    head = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").partition("\n\n")[0]
    named = re.search(r"^Name: *(\S+)", head, re.MULTILINE)
    versioned = re.search(r"^Version: *(\S+)", head, re.MULTILINE)
    return (named[1], versioned[1]) if named and versioned else None


def _git(folder: Path, *arguments: str) -> str | None:
    # Optional locks would make `status` write to the index while somebody else commits.
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _accelerator() -> str:
    # Looking must not cost an import: a study that trains has imported torch already.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return str(torch.cuda.get_device_name())
