"""The command `mtl rollback`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipeline.cli.output import print_json


def rollback(arguments: argparse.Namespace) -> None:
    """Moves a model's alias back to the version before."""
    from pipeline import stages

    model, _, alias = arguments.model.removeprefix("models:/").partition("@")
    decision = stages.rollback(
        model,
        alias or "champion",
        arguments.to,
        arguments.dry_run,
        store=Path(arguments.store or os.environ.get("MTL_STORE") or "mlruns"),
        tracking_uri=arguments.tracking_uri,
    )
    if arguments.json:
        print_json(decision.to_json())
        return
    verb = "would be" if arguments.dry_run else "is again"
    alias = f"{decision.model}@{decision.details['alias']}"
    print(f"{alias} {verb} version {decision.version}; it was version {decision.previous}.")
