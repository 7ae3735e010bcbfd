"""What `mtl group` shows in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def transfer_table(found: Mapping[str, Any]) -> Table:
    """Returns what each task gains from each other, in hundredths, with its spread over seeds."""
    tasks = found["tasks"]
    table = Table(
        title=f"{found['study']} on valid: what the row's task gains with the column's, in "
        f"hundredths of a score, ± its spread over {found['seeds']} seeds"
    )
    for name in ("task", "alone"):
        table.add_column(name, justify="right")
    for task in tasks:
        table.add_column(task, justify="right", overflow="fold")
    mean, spread = found["transfer"]["mean"], found["transfer"]["spread"]
    for task in tasks:
        cells = (_cell(mean[task].get(other), spread[task].get(other)) for other in tasks)
        table.add_row(task, f"{found['alone'][task]:.4f}", *cells)
    return table


def groups_table(found: Mapping[str, Any]) -> Table:
    """Returns the three partitions with their scores on valid and test."""
    table = Table(title="Models, mean score over tasks and seeds")
    table.add_column("models")
    for name in ("number", "valid", "test", "95 % interval"):
        table.add_column(name, justify="right")
    for row in found["test"]["rows"]:
        low, high = row["interval"]
        chosen = row["kind"] == found["recommended"]
        table.add_row(
            row["name"], str(len(row["groups"])), f"{found['valid'][row['kind']]:.4f}",
            f"{row['mean']:.4f}", f"{low:.4f} to {high:.4f}", style="bold" if chosen else None,
        )  # fmt: skip
    return table


def group_notes(found: Mapping[str, Any]) -> list[str]:
    """Returns what the tables do not say: the groups, what is believed, gains, cost."""
    names = {row["kind"]: row["name"] for row in found["test"]["rows"]}
    believed = found["believed"]
    notes = [
        f"groups by transfer: {_groups(found['groups'])}",
        f"believed of pairs: mean {believed['mean']:+.4f}, spread {believed['spread']:.4f} "
        "(0 where seeds alone may have given it)",
        f"recommended on valid: {names[found['recommended']]}",
    ]
    for kind, other in (("over_one_model", "all_in_one"), ("over_each_alone", "each_alone")):
        gain = found["test"]["gains"][kind]
        notes.append(
            f"the groups against {names[other]} on test: {gain['gain']:+.4f} "
            f"({gain['low']:+.4f} to {gain['high']:+.4f})"
        )
    rank = found["cosine_rank_correlation"]
    if rank is None:
        notes.append(f"no rank correlation with gradient cosines: {found['cosine_reason']}")
    else:
        notes.append(f"rank correlation of transfers with gradient cosines: {rank:+.2f}")
    budget = found["budget"]
    return [
        *notes,
        f"{budget['trials']} models, {budget['member_epochs']} epochs, {found['seconds']:.0f} s",
        f"test was read for {found['test_reads']} models of this study",
    ]


def _groups(groups: Sequence[Sequence[str]]) -> str:
    shared = [" + ".join(names) for names in groups if len(names) > 1]
    alone = [names[0] for names in groups if len(names) == 1]
    parts = [*shared, *([f"alone: {', '.join(alone)}"] if alone else [])]
    return "; ".join(parts)


def _cell(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return ""
    return f"{100 * mean:+.1f}" + ("" if spread is None else f" ±{100 * spread:.1f}")
