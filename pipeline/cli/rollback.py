"""The command `mtl rollback`."""

from __future__ import annotations

from pipeline.cli.arguments import Arguments, where
from pipeline.cli.output import print_json


def rollback(arguments: Arguments) -> None:
    """Moves a model's alias back to the version before."""
    from pipeline import stages

    model, _, alias = arguments.model.removeprefix("models:/").partition("@")
    decision = stages.rollback(
        model, alias or "champion", arguments.to, arguments.dry_run, **where(arguments)
    )
    if arguments.json:
        print_json(decision.to_json())
        return
    verb = "would be" if arguments.dry_run else "is again"
    alias = f"{decision.model}@{decision.details['alias']}"
    print(f"{alias} {verb} version {decision.version}; it was version {decision.previous}.")
