"""What a study was launched with, and whether it may go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import ResumeError
from pipeline.study.loading import Study

# On resume these may change: they decide how long, how much is kept and where it goes.
# Where the data lies may change too: what it is, the digest tells.
FREE = ("search.trials", "search.keep", "promote.", "train.checkpoint_minutes")
_WHEREABOUTS = ("path", "about")


def launch_settings(study: Study, prepared: Prepared) -> dict[str, Any]:
    """Returns everything that must not change while a study goes on, by dotted path."""
    settings = flat_settings(asdict(study.spec))
    settings |= {path: f"range {found}" for path, found in study.ranges.items()}
    kept = {
        key: value
        for key, value in settings.items()
        if not key.startswith(FREE)
        and not (key.startswith("sources.") and key.rpartition(".")[2] in _WHEREABOUTS)
    }
    digests = {
        "the content of the data": prepared.data_digest,
        "the prepared data": prepared.prepared_digest,
    }
    # Through JSON, so that what is compared on resume is what JSON keeps.
    stored: dict[str, Any] = json.loads(json.dumps({**kept, **digests}))
    return stored


def check_resume(name: str, launched: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with a study that was changed.

    Raises:
        ResumeError: It lists what changed, before and after.
    """
    missing = "nothing"
    changed = [
        f"  - {key}: was {launched.get(key, missing)}, now {now.get(key, missing)}"
        for key in sorted({*launched, *now})
        if launched.get(key, missing) != now.get(key, missing)
    ]
    if changed:
        raise ResumeError(
            f"The study {name} was launched with other settings:\n" + "\n".join(changed) + "\n"
            "Undo the change to resume, give the study another name, or start again with "
            "`--fresh`, which archives the old study."
        )


def note_device(folder: StudyFolder, device: torch.device, say: Callable[[str], None]) -> None:
    """Notes in a study's record where it trains, and says so where that is another device."""
    record = folder.record()
    used: list[str] = record.get("devices", [])
    if used and used[-1] != device.type:
        say(
            f"Note: this study has trained on {used[-1]} and goes on on {device.type}. Batches and "
            "noise are the same, rounding is not: the same values may score slightly otherwise, "
            "and what is asked next may differ. Each run has the tag `device`."
        )
    if not used or used[-1] != device.type:
        folder.save_record({**record, "devices": [*used, device.type]})


def flat_settings(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Returns a nested mapping as dotted path to value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            found |= flat_settings(value, here)
        else:
            found[here] = value
    return found
