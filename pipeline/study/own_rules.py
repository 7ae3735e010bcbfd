"""Rules for the user's own code that a study names; it is imported here."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import Fault, near_miss
from pipeline.study.own import import_own, is_own, is_stock, own_fault
from pipeline.study.possible import possible
from pipeline.study.spec import StudySpec
from pipeline.study.task_spec import TaskSpec


def own_faults(spec: StudySpec, tree: Mapping[str, Any], folder: Path) -> Iterable[Fault]:
    """Returns what is wrong with own code, importing what the study names and nothing else.

    Args:
        spec: The sections, ranges at their centres.
        tree: What they were read from.
        folder: Of the study file: modules beside it can be imported.
    """
    yield from _sharing_faults(spec, tree.get("model", {}), folder)
    yield from _strategy_faults(spec, tree, folder)
    for name, task in spec.tasks.items():
        yield from _task_faults(f"tasks.{name}", task, folder)


def own_notes(sharings: Iterable[str]) -> list[str]:
    """Returns what a user of own code must know before a search begins."""
    return [
        f"`{name}` is a stock torch module: each of its trials trains by itself, in an array of "
        "one. Arrays of several need a trunk written for members (pipeline/models/README.md)."
        for name in sharings
        if is_stock(name)
    ]


def sharings_of(spec: StudySpec, tree: Mapping[str, Any]) -> dict[str, str]:
    """Returns each sharing that a trial may have, by its place in the file."""
    return {key: str(name) for key, name in possible(spec, tree, "model", "sharing")}


def _sharing_faults(spec: StudySpec, given: Mapping[str, Any], folder: Path) -> Iterable[Fault]:
    named = sharings_of(spec, {"model": given})
    own = {key: name for key, name in named.items() if is_own(name)}
    if not own:
        if "options" in given:
            yield _unread("model.options", given["options"], "a sharing of your own")
        return
    faults = [
        own_fault(key, "sharing", name, folder, replace(spec.model, sharing=name))
        for key, name in own.items()
    ]
    yield from filter(None, faults)
    if not any(faults) and len(own) == len(named) and all(map(is_stock, own.values())):
        for key in {"layers", "dropout"} & set(given):
            yield _unread(f"model.{key}", given[key], "a sharing that is not a stock module")


def _strategy_faults(spec: StudySpec, tree: Mapping[str, Any], folder: Path) -> Iterable[Fault]:
    for key, found in possible(spec, tree, "weights", "strategy"):
        name = str(found)
        if is_own(name):
            section = replace(spec.weights, strategy=name)
            fault = own_fault(key, "strategy", name, folder, section)
            if fault is not None:
                yield fault


def _task_faults(key: str, task: TaskSpec, folder: Path) -> Iterable[Fault]:
    kind = None
    if is_own(task.kind):
        kind = own_fault(f"{key}.kind", "kind", task.kind, folder, task)
        if kind is not None:
            yield kind
    elif task.options:
        yield _unread(f"{key}.options", task.options, "a kind of your own")
    if task.metric is None:
        return
    if is_own(task.metric):
        metric = own_fault(f"{key}.metric", "metric", task.metric, folder, task)
        if metric is not None:
            yield metric
    elif is_own(task.kind) and kind is None:
        offered = tuple(import_own(task.kind).metrics)
        if task.metric not in offered:
            rule = f"is not a metric of `{task.kind}`"
            yield Fault(f"{key}.metric", rule, task.metric, near_miss(task.metric, offered))


def _unread(key: str, found: Any, reader: str) -> Fault:
    return Fault(key, f"is read by {reader} only", str(found), "Leave it out.")
