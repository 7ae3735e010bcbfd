"""What the options that commands have in common say: which study, which store."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.driver.study_folder import StudyFolder
    from pipeline.study.loading import Study

Arguments = argparse.Namespace


def load_study(arguments: Arguments, path: Path | None = None) -> Study:
    """Reads the study file that a command names, with what `--set` and `--data` say."""
    from pipeline.study import loading

    data = arguments.data or os.environ.get("MTL_DATA") or None
    settings = dict(map(loading.parse_setting, arguments.settings))
    return loading.load_study(path or arguments.study, settings, data)


def store(arguments: Arguments) -> Path:
    """Returns the folder of all records."""
    return Path(arguments.store or os.environ.get("MTL_STORE") or "mlruns")


def where(arguments: Arguments) -> dict[str, Any]:
    """Returns the store that a command is about."""
    return {"store": store(arguments), "tracking_uri": arguments.tracking_uri}


def store_options(arguments: Arguments) -> str:
    """Returns the options that the next command needs to have the same store."""
    return _words([("--store", arguments.store), ("--tracking-uri", arguments.tracking_uri)])


def need_launched(folder: StudyFolder, store: Path) -> None:
    """Refuses a study that its store does not know.

    Raises:
        InputError: It was not launched there.
    """
    if not folder.exists():
        raise InputError(
            f"The study {folder.name} was not launched in {store}. "
            "Run `mtl search` first, or name its store with `--store DIR`."
        )


def _words(given: Iterable[tuple[str, Any]]) -> str:
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value)
