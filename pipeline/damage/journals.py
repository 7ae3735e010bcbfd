"""A journal that says something else than the outcomes that are kept.

The outcomes count: a journal can always be made anew from them, since what a sampler asks depends
on the trials told and the number alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pipeline.damage.finding import Damage
from pipeline.driver.journal import Asked, lock_of, mend_journal, whole_bytes
from pipeline.driver.searched import SearchedRow


def journal_damage(row: SearchedRow) -> Iterator[Damage]:
    """Yields what is wrong with the journal of a row; looks at a copy of it."""
    path, n_params = row.folder.journal, len(row.row.ranges)
    where = path.name if row.row.is_tuned else f"rows/{path.name}"
    if lock_of(path).exists():
        what = "is a lock that its holder's death left"
        yield Damage(what, f"{where}.lock", "deleted", lock_of(path).unlink)
    rebuild = "made anew from the outcomes that are kept"
    if not row.folder.cohorts():
        return  # nothing was asked that counts: a search sets such a journal aside itself
    if not path.exists():
        yield Damage("is gone", where, rebuild, row.rebuild_journal)
        return
    content = path.read_bytes()
    try:
        n_whole = whole_bytes(content, n_params)
        asked = _asked(row, content[:n_whole])
    except Exception as error:  # of the JSON, or of Optuna, which says what it misses in many ways
        what = f"cannot be read ({type(error).__name__})"
        yield Damage(what, where, f"{rebuild}, the old one kept", row.rebuild_journal)
        return
    disagreement = _disagreement(row, asked)
    if disagreement:
        mend = partial(row.rebuild_journal, {n: trial.params for n, trial in asked.items()})
        yield Damage(disagreement, where, f"{rebuild}, the old one kept", mend)
    elif n_whole < len(content):
        what = "ends with half a line, or with a trial that was asked by half"
        yield Damage(what, where, "cut there", partial(mend_journal, path, n_params))


def waiting(row: SearchedRow) -> str:
    """Returns what the next search goes on with, as a sentence; empty where nothing waits."""
    numbers = row.folder.unfinished()
    if not numbers:
        return ""
    listed = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    name = "" if row.row.is_tuned else f" of {row.row.name}"
    return f"Trials {listed}{name} were under way: they run again with the same values."


def _asked(row: SearchedRow, content: bytes) -> Mapping[int, Asked]:
    with tempfile.TemporaryDirectory(prefix="journal-") as made:
        copy = Path(made) / "copy.journal"
        copy.write_bytes(content)
        return {trial.number: trial for trial in row.journal_at(copy).asked()}


def _disagreement(row: SearchedRow, asked: Mapping[int, Asked]) -> str:
    """Returns how a journal is at odds with the outcomes; empty where it is not.

    A trial that has ended and was not told yet is none: the next search tells it.
    """
    ended = {trial.number: trial for trial in row.folder.trials()}
    lost = sorted(n for n, trial in asked.items() if trial.finished and n not in ended)
    unasked = sorted(ended.keys() - asked.keys())
    changed = [n for n in ended if n in asked and dict(ended[n].params) != dict(asked[n].params)]
    if lost:
        return f"says that {_trials(lost)} ended, of which no outcome is kept"
    if unasked:
        return f"lacks {_trials(unasked)}, of which outcomes are kept"
    return f"has other values of {_trials(changed)} than the outcomes" if changed else ""


def _trials(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"trial{'s' if len(numbers) > 1 else ''} {shown}"
