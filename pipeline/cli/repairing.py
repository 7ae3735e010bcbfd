"""What mends a study after a crash."""

from __future__ import annotations

from pipeline.cli.arguments import Arguments, load_study, where
from pipeline.cli.output import print_json


def repair(arguments: Arguments) -> None:
    """Finds and mends what a crash left."""
    from pipeline import stages

    found = stages.repair(load_study(arguments), arguments.dry_run, **where(arguments))
    if arguments.json:
        print_json(found)
        return
    for damage in found["found"]:
        state = "cannot be mended here" if not damage["can_mend"] else (
            "would be mended" if found["dry_run"] else "mended"
        )  # fmt: skip
        print(f"- {damage['where']} {damage['what']}. {state.capitalize()}: {damage['remedy']}")
    for note in found["notes"]:
        print(f"- {note}")
    print(_summary(found))


def _summary(found: dict[str, object]) -> str:
    damage = found["found"]
    assert isinstance(damage, list)
    if not damage:
        return f"Nothing is damaged in {found['study']}."
    if found["dry_run"]:
        n_mendable = sum(one["can_mend"] for one in damage)
        return f"{n_mendable} of {len(damage)} can be mended: run it without --dry-run."
    return f"{found['mended']} of {len(damage)} mended. `mtl search` goes on."
