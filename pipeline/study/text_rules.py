"""Rules about texts: their columns, and the encoders that read them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.errors import Fault, near_miss
from pipeline.study.catalogue import CATALOGUE, name_faults, names
from pipeline.study.possible import highest
from pipeline.study.spec import StudySpec


def text_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    """Yields what is wrong with text columns and encoders; arguments as for `rule_faults`."""
    roles = column_roles(spec)
    for name, source in spec.sources.items():
        key = f"sources.{name}.text"
        if source.text is not None and not source.text_columns:
            yield Fault(key, "must name a column", "an empty list")
        for column in source.text_columns:
            if source.text_columns.count(column) > 1:
                yield Fault(key, "must not list a column twice", column)
            listed = [role for role in ("drop", "numeric", "categorical", "boolean")
                      if column in getattr(source, role)]  # fmt: skip
            for role in listed:
                yield Fault(key, f"must not be listed under `{role}` too", column,
                            "Leave it in one place.")  # fmt: skip
            if column in roles:
                hint = "A model would read its own answer. Name another column, or rename one."
                yield Fault(key, f"must not be the {roles[column]} too", column, hint)
    yield from _encoder_faults(spec, tree)
    yield from _augment_faults(spec, tree)
    for name, task in spec.tasks.items():
        if task.kind == "abstractive_pretrained":
            yield from _decoder_faults(spec, name)


def _decoder_faults(spec: StudySpec, name: str) -> Iterable[Fault]:
    """Yields what a pretrained decoder lacks: it reads what the encoder `pretrained` gives."""
    task, encoder = spec.tasks[name], spec.model.encoder
    key = f"tasks.{name}.decoder"
    hint = "Give `model.encoder.path`, an encoder-decoder, or leave `decoder` out."
    if "pretrained" not in encoder.kinds:
        rule = "`pretrained` needs `pretrained` among the encoders, whose states it reads"
        yield Fault(key, rule, ", ".join(encoder.kinds), hint)
    if task.path is not None:
        yield Fault(f"tasks.{name}.path", "is not read", task.path, hint)
    source = spec.sources.get(spec.source_of(name))
    texts = () if source is None else source.text_columns
    if task.text is not None and task.text not in texts:
        rule = "must be among the texts of its source, which the encoder reads for the decoder"
        yield Fault(f"tasks.{name}.text", rule, task.text, near_miss(task.text, list(texts)))
    elif task.inputs is not None and task.text is not None and task.text not in task.inputs:
        rule = "must be among the inputs of its task, of which the decoder reads the texts"
        yield Fault(f"tasks.{name}.text", rule, task.text)


def column_roles(spec: StudySpec) -> dict[str, str]:
    """Returns the columns of any source that no text and no named input may be, with their roles.

    Of any: rows of several sources are answered from one table with the columns of all.
    """
    roles: dict[str, str] = {}
    for name, source in spec.sources.items():
        split = spec.split_of(name)
        for role, column in (("id", source.id), ("split column", split.column),
                             ("group", split.group), ("time", split.time)):  # fmt: skip
            roles |= {} if column is None else {column: role}
    for task_name, task in spec.tasks.items():
        for column in [task.target] if isinstance(task.target, str) else task.target:
            roles[column] = f"target of task `{task_name}`"
    return roles


def _encoder_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    given = tree.get("model", {}).get("encoder", {})
    encoder = spec.model.encoder
    if given and not any(source.text is not None for source in spec.sources.values()):
        yield Fault("model.encoder", "is not read: no source has `text`", str(dict(given)),
                    "Name the column of texts: `sources.NAME.text`.")  # fmt: skip
        return
    if not encoder.kinds:
        yield Fault("model.encoder.kind", "must name an encoder", "an empty list")
    for kind in dict.fromkeys(encoder.kinds):
        if kind in names("encoder") and encoder.kinds.count(kind) > 1:
            yield Fault("model.encoder.kind", "must not name an encoder twice", kind)
        else:
            yield from name_faults("model.encoder.kind", "encoder", kind)
    read = {option for kind in encoder.kinds if kind in names("encoder")
            for option in CATALOGUE["encoder"][kind].options}  # fmt: skip
    unknown = set(encoder.kinds) - set(names("encoder"))  # which may read it under its right name
    for option in sorted(set() if unknown else set(given) - {"kind", "for_decoder"} - read):
        rule = f"is not read by `{'`, `'.join(encoder.kinds)}`"
        yield Fault(f"model.encoder.{option}", rule, str(given[option]), "Leave it out.")
    if "pretrained" in encoder.kinds and encoder.path is None:
        yield Fault("model.encoder.path", "must name the model that `pretrained` loads",
                    hint="A folder, or a name of the Hugging Face hub.")  # fmt: skip
    yield from _finetune_faults(spec, given)


_READ_BY = {
    "layers": ("last_n", "lora"), "rank": ("lora",), "alpha": ("lora",),
    "dropout": ("last_n", "lora", "full"),
}  # fmt: skip


def _finetune_faults(spec: StudySpec, given: Mapping[str, Any]) -> Iterable[Fault]:
    """Yields keys of a pretrained model that its way of being trained does not read."""
    encoder = spec.model.encoder
    if "pretrained" not in encoder.kinds:
        return
    for option, ways in _READ_BY.items():
        elsewhere = option == "dropout" and "transformer" in encoder.kinds
        elsewhere |= option == "dropout" and encoder.for_decoder
        if option in given and encoder.finetune not in ways and not elsewhere:
            rule = f"is not read with `finetune: {encoder.finetune}`"
            hint = f"Leave it out, or use `finetune: {' or '.join(ways)}`."
            yield Fault(f"model.encoder.{option}", rule, str(given[option]), hint)


def _augment_faults(spec: StudySpec, tree: Mapping[str, Any]) -> Iterable[Fault]:
    """Yields rates that change texts where the vectors of these are computed before training."""
    given = tree.get("train", {}).get("augment", {})
    kinds = spec.model.encoder.kinds
    frozen = [kind for kind in kinds if kind in names("encoder") and _is_frozen(spec, kind)]
    with_texts = any(source.text is not None for source in spec.sources.values())
    for rate in ("word_dropout", "swap", "deletion"):
        most = highest(given.get(rate, 0.0))
        if most > 0 and not with_texts:
            yield Fault(f"train.augment.{rate}", "is not read: no source has `text`", f"{most:g}")
        elif most > 0 and frozen:
            rule = (
                f"cannot change what `{'`, `'.join(frozen)}` reads: its vectors are computed once"
            )
            learned = [kind for kind in names("encoder")
                       if CATALOGUE["encoder"][kind].network and kind != "pretrained"]  # fmt: skip
            hint = (
                f"Name only encoders that learn from tokens (`{'`, `'.join(learned)}`) under "
                "`model.encoder.kind`, or use `model.dropout_input`, which drops parts of vectors."
            )
            yield Fault(f"train.augment.{rate}", rule, f"{most:g}", hint)


def _is_frozen(spec: StudySpec, kind: str) -> bool:
    """Tells whether something that an encoder gives is computed before training."""
    computed = kind == "pretrained" and spec.model.encoder.finetune != "full"
    return computed or not CATALOGUE["encoder"][kind].network
