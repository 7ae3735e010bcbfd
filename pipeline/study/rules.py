"""Rules that hold between keys of a study file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.errors import Fault, near_miss
from pipeline.study.catalogue import CATALOGUE, entry, name_faults, names
from pipeline.study.faults import shown
from pipeline.study.input_rules import input_faults
from pipeline.study.own import CONTRACTS, is_own
from pipeline.study.possible import ends, highest, possible
from pipeline.study.promote_spec import RIVALS
from pipeline.study.source_spec import SplitSpec
from pipeline.study.spec import StudySpec
from pipeline.study.task_spec import TaskSpec
from pipeline.study.text_rules import text_faults


def rule_faults(
    spec: StudySpec, tree: Mapping[str, Any], tasks: Sequence[str], sources: Sequence[str]
) -> list[Fault]:
    """Returns what is wrong between keys.

    Args:
        spec: The sections, ranges at their centres.
        tree: What they were read from, to tell a key that was given from a default.
        tasks: Names that the file gives its tasks, also those that were left out for a fault:
            naming one is no fault of its own.
        sources: Likewise for sources.
    """
    return [
        *_source_faults(spec),
        *_task_faults(spec, tree, sources),
        *_split_faults("split", spec.split),
        *(
            fault
            for name, source in spec.sources.items()
            if source.split is not None
            for fault in _split_faults(f"sources.{name}.split", source.split)
        ),
        *_promote_faults(spec),
        *_name_faults(spec, tree),
        *_objective_faults(spec, tree, tasks),
        *_model_faults(spec, tree),
        *_weight_faults(spec, tree, tasks),
        *_train_faults(spec, tree),
        *_sampling_faults(spec, tree, sources),
        *text_faults(spec, tree),
        *input_faults(spec),
    ]


def _source_faults(spec: StudySpec) -> Iterable[Fault]:
    for name, source in spec.sources.items():
        if source.builtin is not None:
            yield from name_faults(f"sources.{name}.builtin", "builtin", source.builtin)
        if source.builtin is not None and source.path is not None:
            yield Fault(f"sources.{name}", "must have `path` or `builtin`, not both",
                        f"{source.path} and {source.builtin}")  # fmt: skip
        typed = [*source.numeric, *source.categorical, *source.boolean]
        for column in sorted({column for column in typed if typed.count(column) > 1}):
            rule = "must not list a column twice among numeric, categorical and boolean"
            yield Fault(f"sources.{name}", rule, column, "Leave it in one list.")


def _task_faults(
    spec: StudySpec, tree: Mapping[str, Any], sources: Sequence[str]
) -> Iterable[Fault]:
    for name, task in spec.tasks.items():
        key = f"tasks.{name}"
        if task.source is None and len(sources) > 1:
            rule = "is missing: the study has several sources"
            yield Fault(f"{key}.source", rule, hint=f"Possible: {', '.join(sources)}.")
        elif task.source is not None and sources and task.source not in sources:
            hint = near_miss(task.source, sources)
            yield Fault(f"{key}.source", "is not a source of the study", task.source, hint)
        if is_own(task.kind):
            continue  # see `own_rules`
        if task.kind not in names("kind"):
            hint = near_miss(task.kind, names("kind"))
            yield Fault(f"{key}.kind", "is unknown", task.kind, hint)
        else:
            yield from _kind_faults(key, task, tree["tasks"][name])


def _kind_faults(key: str, task: TaskSpec, given: Mapping[str, Any]) -> Iterable[Fault]:
    kind = CATALOGUE["kind"][task.kind]
    if task.metric is not None and task.metric not in kind.metrics and not is_own(task.metric):
        hint = near_miss(task.metric, kind.metrics)
        yield Fault(f"{key}.metric", f"is not a metric of `{task.kind}`", task.metric, hint)
    options = {option for other in CATALOGUE["kind"].values() for option in other.options}
    for option in sorted(set(given) & options - set(kind.options)):
        hint = f"Its own keys: {', '.join(kind.options)}."
        yield Fault(f"{key}.{option}", f"is not read by `{task.kind}`", str(given[option]), hint)
    several = isinstance(task.target, list)
    if several and task.kind != "multilabel":
        yield Fault(f"{key}.target", "must be one column", str(task.target),
                    "Only `multilabel` takes a list of 0/1 columns.")  # fmt: skip
    if several and len(set(task.target)) < len(task.target):
        yield Fault(f"{key}.target", "must not repeat a column", str(task.target))
    if task.writes or task.kind == "summarisation":
        yield from _summary_faults(key, task)
    if task.kind == "multilabel" and several == (task.separator is not None):
        yield Fault(f"{key}.target", "must be a list of 0/1 columns, or one column and `separator`",
                    str(task.target))  # fmt: skip


def _summary_faults(key: str, task: TaskSpec) -> Iterable[Fault]:
    if task.text is None:
        yield Fault(f"{key}.text", "is missing: the column of the documents to summarise")
    if task.per is not None:
        yield Fault(f"{key}.per", f"is not read by `{task.kind}`", task.per, "Leave it out.")
    columns = {"text": task.text, "title": task.title}
    for name, column in columns.items():
        if column is not None and column == task.target:
            rule = "must not be the column of the references, which are what is learned"
            yield Fault(f"{key}.{name}", rule, column)
    if task.budget is not None:
        given = {name: value for name, value in vars(task.budget).items() if value}
        if len(given) != 1:
            rule = "must have one of `sentences`, `words`, `share` and `reference: true`"
            yield Fault(f"{key}.budget", rule, ", ".join(given) or "none")


def _promote_faults(spec: StudySpec) -> Iterable[Fault]:
    alias = spec.promote.alias
    if alias in ("latest", "previous") or re.fullmatch(r"v\d+", alias):
        rule = "must not be `latest`, `previous` or like `v2`, which are taken"
        yield Fault("promote.alias", rule, alias, "Such as `champion`.")
    for row in spec.promote.gates.beat:
        if row not in RIVALS:
            rule = "is no row of the comparison that can be beaten"
            yield Fault("promote.gates.beat", rule, row, near_miss(row, RIVALS))


def _split_faults(key: str, split: SplitSpec) -> Iterable[Fault]:
    ways = [way for way in ("column", "time") if getattr(split, way) is not None]
    if len(ways) > 1:
        yield Fault(key, "must not have both `column` and `time`")
    if split.group is not None and split.stratify is not None:
        yield Fault(f"{key}.stratify", "cannot stand beside `group`, which moves rows together",
                    split.stratify)  # fmt: skip
    if split.group is None and split.ungrouped != "refuse":
        yield Fault(f"{key}.ungrouped", "is read beside `group` only", split.ungrouped,
                    "Leave it out, or name the column of groups.")  # fmt: skip
    if split.time is not None and (split.stratify or split.group):
        yield Fault(f"{key}.time", "cannot stand beside `stratify` or `group`", split.time)
    if split.column is not None:
        for part in ("train", "test"):
            if getattr(split, part) is not None:
                yield Fault(f"{key}.{part}", "cannot stand beside `column`, which names the parts",
                            f"{getattr(split, part):g}")  # fmt: skip
        return
    shares = [getattr(split, part) for part in ("train", "valid", "test")]
    given = [share for share in shares if share is not None]
    if given and (len(given) < 3 or abs(sum(given) - 1) > 1e-9):
        found = ", ".join("none" if share is None else f"{share:g}" for share in shares)
        yield Fault(key, "must give train, valid and test shares that sum to 1", found)
    elif given and min(given) <= 0:
        yield Fault(key, "must give every part a share above 0", str(given))


def _objective_faults(
    spec: StudySpec, tree: Mapping[str, Any], tasks: Sequence[str]
) -> Iterable[Fault]:
    search = spec.search
    pruner = tree.get("search", {}).get("pruner")
    if isinstance(search.objective, str):
        if search.floors:
            rule = "is read with several objectives only"
            yield Fault("search.floors", rule, str(search.floors), "Leave it out.")
        if pruner == "dominated":
            yield Fault("search.pruner", "needs a list of tasks as `search.objective`", pruner)
        return
    names = search.objective
    if len(set(names)) < 2:
        yield Fault("search.objective", "must list two tasks or more", str(names),
                    "`mean` maximises the mean of all tasks.")  # fmt: skip
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault("search.objective", "must not list a task twice", name)
    for name in names:
        if tasks and name not in tasks:
            rule = "is not a task of the study"
            yield Fault("search.objective", rule, name, near_miss(name, tasks))
        elif name in spec.tasks and spec.tasks[name].per is not None:
            yield Fault("search.objective", "must not name a task that `per` divides", name)
    for name in search.floors:
        if name not in names:
            rule = "is none of the objectives"
            yield Fault(f"search.floors.{name}", rule, hint=near_miss(name, names))
    if pruner not in (None, "dominated", "none"):
        rule = "cannot prune with several objectives"
        yield Fault("search.pruner", rule, str(pruner), "Possible: dominated, none.")


def _name_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    """Checks names that the catalogue must know; of a searched one, each choice."""
    for role, section in (
        ("sharing", "model"),
        ("strategy", "weights"),
        ("optimizer", "train"),
        ("schedule", "train"),
        ("pruner", "search"),
    ):
        for key, name in possible(spec, tree, section, role):
            if role in CONTRACTS and is_own(str(name)):
                continue  # see `own_rules`
            yield from name_faults(key, role, str(name))


def _model_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    offered, given = CATALOGUE["sharing"], tree.get("model", {})
    named = [str(name) for _, name in possible(spec, tree, "model", "sharing")]
    known = [name for name in named if name in offered]
    read = {option for name in known for option in offered[name].options}
    for option in sorted(set(given) & {o for e in offered.values() for o in e.options} - read):
        readers = [name for name, found in offered.items() if option in found.options]
        yield Fault(f"model.{option}", f"is not read by `{'`, `'.join(named)}`",
                    str(given[option]), f"It belongs to `{'`, `'.join(readers)}`.")  # fmt: skip
    n_layers = min(len(layers) for _, layers in possible(spec, tree, "model", "layers"))
    levels = max(int(value) for _, value in possible(spec, tree, "model", "levels"))
    for name in known:
        least = levels if "levels" in offered[name].options else bool(offered[name].options)
        if n_layers < least:
            rule = f"must have at least {least:d} for every trial with `{name}`"
            hint = "It cuts them into `model.levels` runs." if least > 1 else "Such as [64]."
            yield Fault("model.layers", rule, str(n_layers), hint)


def _weight_faults(
    spec: StudySpec, tree: Mapping[str, Any], tasks: Sequence[str]
) -> Iterable[Fault]:
    weights, given = spec.weights, tree.get("weights", {})
    strategies = [name for _, name in possible(spec, tree, "weights", "strategy")]
    known = [entry("strategy", name) for name in strategies
             if name in names("strategy") or is_own(name)]  # fmt: skip
    read = {option for found in known for option in found.options}
    unread = set(given) - {"strategy", *read} if len(known) == len(strategies) else set()
    for option in sorted(unread):
        rule = f"is not read by `{'`, `'.join(strategies)}`"
        yield Fault(f"weights.{option}", rule, str(given[option]), "Leave it out.")
    if not weights.values:
        return
    if weights.low is not None or weights.high is not None:
        yield Fault("weights.values", "cannot stand beside `low` and `high`",
                    f"{weights.low} and {weights.high}", "Leave one or the other out.")  # fmt: skip
    for task in weights.values:
        if tasks and task not in tasks:
            hint = near_miss(task, tasks)
            yield Fault(f"weights.values.{task}", "is not a task of the study", hint=hint)
    missing = [task for task in tasks if task not in weights.values]
    if missing:
        yield Fault("weights.values", "must name every task", f"none for {', '.join(missing)}")
    least = [min(weight for _, weight in ends(found)) for found in given["values"].values()]
    if not any(float(weight) > 0 for weight in least):
        rule = "must keep one task's weight above 0 in every trial"
        yield Fault("weights.values", rule, f"at least {', '.join(map(str, least))}")


def _train_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    given = tree.get("train", {})
    optimizers = [name for _, name in possible(spec, tree, "train", "optimizer")]
    if "momentum" in given and "sgd" not in optimizers:
        rule = f"is not read by `{'`, `'.join(optimizers)}`"
        yield Fault("train.momentum", rule, str(given["momentum"]), "It belongs to `sgd`.")
    mixup = highest(given.get("augment", {}).get("mixup", 0.0))
    writing = [name for name, task in spec.tasks.items() if task.writes]
    if mixup > 0 and writing:
        rule = f"cannot stand beside the task `{writing[0]}`, which writes: words do not mix"
        yield Fault("train.augment.mixup", rule, f"{mixup:g}")
    warmup = max(value for _, value in possible(spec, tree, "train", "warmup_epochs"))
    epochs = min(value for _, value in possible(spec, tree, "train", "epochs"))
    if warmup >= epochs:
        rule = "must be below `train.epochs`, for every value that is searched"
        yield Fault("train.warmup_epochs", rule, f"{warmup:g} and {epochs:g}")


def _sampling_faults(
    spec: StudySpec, tree: Mapping[str, Any], sources: Sequence[str]
) -> Iterable[Fault]:
    sampling = tree.get("train", {}).get("sampling")
    if not sampling:
        return
    # The pieces that a summary is chosen from are rows of their own beside those of other tasks.
    chosen = [name for name, task in spec.tasks.items() if task.kind == "summarisation"]
    divided = len({tuple(task.inputs or ()) for task in spec.tasks.values()}) > 1
    if len(sources) == 1 and not divided and (not chosen or len(spec.tasks) == 1):
        yield Fault("train.sampling", "is not read: all rows are of one source", shown(sampling),
                    "Leave it out: every row stands once in every epoch.")  # fmt: skip
    elif sampling != "proportional":
        for key, name in possible(spec, tree, "train", "optimizer"):
            if name == "gd":
                rule = "cannot stand beside `train.sampling`: it takes every row once, in one step"
                yield Fault(key, rule, name, "Such as `sgd` and `adamw`.")
