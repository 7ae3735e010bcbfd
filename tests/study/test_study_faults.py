import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Fault, StudyError
from pipeline.study.loading import parse_study

SOUND: dict[str, Any] = {
    "name": "s",
    "sources": {"people": {"path": "people.csv"}},
    "tasks": {
        "a": {"kind": "binary", "target": "a"},
        "b": {"kind": "regression", "target": "b"},
    },
}
JARGON = re.compile(
    r"Input|instance|Spec|dictionary|literal|constrained|argument|parse|pydantic|integer|<|\["
    r"key\]|type=|str\b"
)


def faults_of(tree: Any) -> list[Fault]:
    text = tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False)
    with pytest.raises(StudyError) as caught:
        parse_study(text)
    return list(caught.value.faults)


def with_section(path: str, value: Any) -> dict[str, Any]:
    """Returns the sound study with one value put at a dotted path."""
    tree = yaml.safe_load(yaml.safe_dump(SOUND))
    *sections, last = path.split(".")
    place = tree
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    return dict(tree)


# Where a value is put, the value, the key of the only fault, and words of its message.
CASES: list[tuple[str, Any, str, tuple[str, ...]]] = [
    # values of the wrong type or size
    ("name", "my study", "name", ("letters, digits, `_` and `-`", "'my study'")),
    ("name", "a" * 61, "name", ("at most 60 characters",)),
    ("name", 3, "name", ("must be a text", "Found 3", 'quotes: "3"')),
    ("tasks.a.target", True, "tasks.a.target", ("or a list", "Found true", "write quotes")),
    ("seed", -1, "seed", ("at least 0", "-1")),
    ("seed", 1.5, "seed", ("whole number", "1.5")),
    ("train.lr", 0, "train.lr", ("above 0", "Found 0")),
    ("train.lr", "fast", "train.lr", ("must be a number", "'fast'")),
    ("train.lr", float("nan"), "train.lr", ("finite number", "nan")),
    (
        "train.sampling",
        {"choices": ["proportional", "uniform"]},
        "train.sampling.choices",
        ("A range of mixes is one of their temperature", "{temperature: {choices:"),
    ),
    ("train.clip", float("inf"), "train.clip", ("finite number", "inf")),
    ("model.dropout", 1, "model.dropout", ("below 1",)),
    ("model.layers", 64, "model.layers", ("must be a list", "64")),
    ("model.layers", [64, 0], "model.layers.1", ("at least 1", "Found 0")),
    ("model.activation", "rely", "model.activation", ("`relu`, `gelu`", "mean `relu`")),
    ("sources.people.path", 3, "sources.people.path", ("a text or a list", "3")),
    ("sources.people.path", ["a", 3], "sources.people.path.1", ("a text", "3")),
    ("tasks.a.threshold", "tune", "tasks.a.threshold", ("a number or `tuned`", "'tune'")),
    ("tasks.a.class_weights", "even", "tasks.a.class_weights", ("`balanced` or a mapping",)),
    ("tasks.a.class_weights", {"x": -1}, "tasks.a.class_weights.x", ("above 0", "-1")),
    # sections
    ("train", None, "train", ("a mapping", "nothing (null)", "leave the key out")),
    ("weights", 3, "weights", ("a mapping", "Found 3")),
    ("tasks", ["a"], "tasks", ("a mapping", "['a']")),
    ("tasks", {}, "tasks", ("at least 1 entry",)),
    ("sources", {}, "sources", ("at least 1 entry",)),
    ("sources.people", 3, "sources.people", ("a mapping", "Found 3")),
    ("tasks.c d", {"kind": "binary", "target": "c"}, "tasks.c d", ("begins with a letter",)),
    ("tasks.c", {"kind": "binary"}, "tasks.c.target", ("is missing", "target: income")),
    # unknown keys
    ("sede", 3, "sede", ("not a key", "Found 3", "mean `seed`")),
    ("train.learning_rate", 3, "train.learning_rate", ("not a key", "Possible: optimizer, lr")),
    ("model.lr", 3, "model.lr", ("not a key", "mean `train.lr`")),
    ("sources.people.split.trian", 3, "sources.people.split.trian", ("mean `train`",)),
    ("train", {1: 2}, "train.1", ("not a key",)),
    # ranges
    ("search.trials", {"low": 1, "high": 3}, "search.trials", ("cannot be searched", "one value")),
    ("weights.low", {"low": 1, "high": 3}, "weights.low", ("cannot be searched",)),
    ("name", {"choices": ["a", "b"]}, "name", ("cannot be searched",)),
    ("tasks.a.kind", {"choices": ["binary"]}, "tasks.a.kind", ("cannot be searched",)),
    ("tasks.a.metric", {"choices": ["f1"]}, "tasks.a.metric", ("cannot be searched",)),
    (
        "sources.people.split",
        {"valid": {"low": 0.1, "high": 0.2}},
        "sources.people.split.valid",
        ("cannot be searched",),
    ),
    ("train.lr", {"low": 0, "high": 1}, "train.lr.low", ("above 0", "Found 0")),
    ("train.lr", {"low": 2, "high": 1}, "train.lr.low", ("below `high`", "Swap")),
    ("model.dropout", {"low": 0.5, "high": 1}, "model.dropout.high", ("below 1",)),
    ("train.epochs", {"low": 1.0, "high": 9}, "train.epochs", ("range of whole numbers",)),
    (
        "train.epochs",
        {"low": 1, "high": 9, "step": 0.5},
        "train.epochs",
        ("range of whole numbers", "step 0.5"),
    ),
    (
        "model.layers",
        [64, {"low": 16, "high": 64}],
        "model.layers.1",
        ("whole number", "in place of a whole list"),
    ),
    ("model.norm", {"choices": ["none", "bach"]}, "model.norm.choices.1", ("`batch`", "'bach'")),
    ("weights.low", 0, "weights.low", ("above 0",)),
    ("weights", {"low": 3, "high": 2}, "weights.low", ("below `high`",)),
    # names of the catalogue
    ("train.optimizer", "adma", "train.optimizer", ("is unknown", "Found adma", "mean `adam`")),
    (
        "train.optimizer",
        {"choices": ["adam", "adma"]},
        "train.optimizer.choices.1",
        ("is unknown", "mean `adam`"),
    ),
    ("train.schedule", "cosin", "train.schedule", ("mean `cosine`",)),
    ("search.order", "fre", "search.order", ("`fixed`", "`free`", "'fre'")),
    ("search.pruner", "medain", "search.pruner", ("mean `median`",)),
    ("model.sharing", "moe", "model.sharing", ("is unknown", "`mmoe`")),
    (
        "model.sharing",
        {"choices": ["mmoe", "shred"]},
        "model.sharing.choices.1",
        ("is unknown", "Found shred"),
    ),
    ("model.experts", 3, "model.experts", ("not read by `shared_bottom`", "belongs to `mmoe`")),
    ("model.experts", 0, "model.experts", ("at least 1",)),
    ("model.stitch", 1.5, "model.stitch", ("at most 1",)),
    ("model", {"sharing": "ple", "layers": [8]}, "model.layers", ("at least 2", "`ple`", "cuts")),
    ("model", {"sharing": "mmoe", "layers": []}, "model.layers", ("at least 1", "`mmoe`")),
    (
        "model",
        {"sharing": "cgc", "levels": 2},
        "model.levels",
        ("not read by `cgc`", "belongs to `ple`"),
    ),
    ("weights.strategy", "fixd", "weights.strategy", ("mean `fixed`",)),
    ("sources.people", {"builtin": "digits"}, "sources.people.builtin", ("mean `multidigits`",)),
    ("tasks.a.kind", "binry", "tasks.a.kind", ("mean `binary`",)),
    ("tasks.a.metric", "roc", "tasks.a.metric", ("not a metric of `binary`", "mean `roc_auc`")),
    # rules between keys
    ("sources.people.builtin", "multidigits", "sources.people", ("not both", "people.csv")),
    (
        "sources.people",
        {"path": "x", "numeric": ["u"], "boolean": ["u"]},
        "sources.people",
        ("twice", "Found u"),
    ),
    ("tasks.b.positive", 3, "tasks.b.positive", ("not read by `regression`", "loss, delta")),
    ("tasks.a.target", ["u", "v"], "tasks.a.target", ("must be one column",)),
    (
        "tasks.c",
        {"kind": "multilabel", "target": ["u", "u"]},
        "tasks.c.target",
        ("must not repeat",),
    ),
    ("tasks.c", {"kind": "multilabel", "target": "u"}, "tasks.c.target", ("`separator`",)),
    ("tasks.a.source", "peple", "tasks.a.source", ("not a source", "mean `people`")),
    ("split", {"column": "s", "train": 0.5}, "split.train", ("cannot stand beside `column`",)),
    ("split", {"train": 0.5, "valid": 0.5}, "split", ("sum to 1", "0.5, 0.5, none")),
    ("split", {"train": 0.5, "valid": 0.5, "test": 0}, "split", ("above 0",)),
    ("split", {"column": "s", "time": "t"}, "split", ("not have both",)),
    ("split", {"time": "t", "group": "g"}, "split.time", ("cannot stand beside",)),
    ("split.ungrouped", "own", "split.ungrouped", ("beside `group` only", "Leave it out")),
    ("tasks.b.min_rows", 3, "tasks.b.min_rows", ("not read by `regression`",)),
    ("sources.people.split", {"train": 0.5}, "sources.people.split", ("sum to 1",)),
    ("weights", {"strategy": "equal", "low": 0.1}, "weights.low", ("not read by `equal`",)),
    ("weights.temperature", 2, "weights.temperature", ("not read by `fixed`",)),
    ("weights", {"strategy": "dwa", "mu": 1}, "weights.mu", ("not read by `dwa`",)),
    (
        "weights",
        {"strategy": {"choices": ["equal", "famo"]}, "mu": {"low": 0.01, "high": 1, "log": True}},
        "weights.mu",
        ("not read by `equal`, `famo`",),
    ),
    ("weights", {"strategy": "dwa", "temperature": 0}, "weights.temperature", ("above 0",)),
    ("weights.strategy", "balance:mdga", "weights.strategy", ("mean `balance:mgda`",)),
    (
        "weights.strategy",
        {"choices": ["equal", "unsertainty"]},
        "weights.strategy.choices.1",
        ("mean `uncertainty`",),
    ),
    ("weights.values", {"a": 1}, "weights.values", ("every task", "none for b")),
    ("weights.values", {"a": 1, "b": 1, "d": 1}, "weights.values.d", ("not a task",)),
    ("weights.values", {"a": 0, "b": 0}, "weights.values", ("above 0 in every trial",)),
    (
        "weights.values",
        {"a": 0, "b": {"choices": [0, 1]}},
        "weights.values",
        ("above 0 in every trial",),
    ),
    (
        "weights",
        {"low": 0.1, "values": {"a": 1, "b": 1}},
        "weights.values",
        ("cannot stand beside `low`",),
    ),
    ("train.momentum", 0.5, "train.momentum", ("not read by `adamw`", "belongs to `sgd`")),
    ("train.sampling", "uniform", "train.sampling", ("one source", "'uniform'", "Leave it")),
    ("train.sampling", {"temperature": 2}, "train.sampling", ("one source", "'temperature': 2")),
    ("train.sampling", "uniformly", "train.sampling", ("`proportional`", "mean `uniform`")),
    ("train.sampling", {"temprature": 2}, "train.sampling.temprature", ("mean `temperature`",)),
    ("train.sampling", {"temperature": 0.9}, "train.sampling.temperature", ("at least 1",)),
    (
        "train.sampling",
        {"temperature": {"low": 0.5, "high": 2}},
        "train.sampling.temperature.low",
        ("at least 1",),
    ),
    ("train.warmup_epochs", 30, "train.warmup_epochs", ("below `train.epochs`", "30 and 30")),
    (
        "train",
        {"warmup_epochs": 5, "epochs": {"low": 3, "high": 30}},
        "train.warmup_epochs",
        ("every value that is searched", "5 and 3"),
    ),
]


def test_the_sound_study_has_no_fault() -> None:
    parse_study(yaml.safe_dump(SOUND))


@pytest.mark.parametrize(("path", "value", "key", "words"), CASES)
def test_one_fault_is_told_once_in_plain_words(
    path: str, value: Any, key: str, words: tuple[str, ...]
) -> None:
    faults = faults_of(with_section(path, value))
    assert [fault.key for fault in faults] == [key], [str(fault) for fault in faults]
    message = str(faults[0])
    assert all(word in message for word in words), message
    assert not JARGON.search(message.split("Found")[0]), message


@given(st.sets(st.integers(0, len(CASES) - 1), min_size=2, max_size=5))
def test_faults_of_different_sections_are_all_told(chosen: set[int]) -> None:
    tree = yaml.safe_load(yaml.safe_dump(SOUND))
    expected, used = [], set()
    for path, value, key, _ in (CASES[index] for index in chosen):
        section = path.split(".")[0]
        # Names of tasks and sources, and shares of sections, tie these to each other.
        if section in used or section in ("tasks", "sources"):
            continue
        used.add(section)
        tree[section] = with_section(path, value)[section]
        expected.append(key)
    if expected:
        assert sorted(fault.key for fault in faults_of(tree)) == sorted(expected)


def test_rules_are_checked_beside_values_of_the_wrong_type() -> None:
    tree = {
        "name": "s",
        "sources": {"people": {"path": 3}, "more": 7},
        "tasks": {
            "a": {"kind": "binary", "source": "people"},  # no target: the task cannot be read
            "b": {"kind": "regresion", "target": "b", "source": "more"},
        },
        "weights": {"values": {"a": 1, "b": 1, "c": 1}},
        "train": {"lr": "fast", "optimizer": "adma"},
    }
    assert [fault.key for fault in faults_of(tree)] == [
        "sources.people.path", "sources.more", "tasks.a.target", "train.lr",
        "tasks.b.kind", "train.optimizer", "weights.values.c",
    ]  # fmt: skip


def test_rules_are_checked_where_whole_sections_are_missing() -> None:
    keys = [fault.key for fault in faults_of({"train": {"optimizer": "adma"}})]
    assert keys == ["name", "sources", "tasks", "train.optimizer"]


def test_several_sources_must_be_chosen_from() -> None:
    tree = with_section("sources.others", {"path": "others.csv"})
    faults = faults_of(tree)
    assert [fault.key for fault in faults] == ["tasks.a.source", "tasks.b.source"]
    assert faults[0].hint == "Possible: people, others."


def test_doubled_names_are_told_with_their_lines_and_all_else() -> None:
    text = """name: s
sources: {people: {path: people.csv}}
tasks:
  a: {kind: binary, target: a}
  a: {kind: binary, target: b, metric: roc}
train: {lr: 0}
"""
    faults = faults_of(text)
    assert [fault.key for fault in faults] == ["a", "train.lr", "tasks.a.metric"]
    assert "must not stand twice" in str(faults[0])
    assert "line 5" in str(faults[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "line 1, column 6"),
        ("name: a\n\tseed: 1", "line 2, column 1"),
        ("[1]: 2", "unhashable key"),
        ("name: !!python/object:os.system x", "constructor"),
        ("- 1", "must be a mapping of keys. Found [1]"),
        ("", "nothing (null)"),
    ],
)
def test_what_is_no_study_at_all_is_told_where(text: str, words: str) -> None:
    faults = faults_of(text)
    assert [fault.key for fault in faults] == ["study"]
    assert words in str(faults[0])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(["low", "binary", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["low", "high", "choices", "kind", "target", "values", "split", "a", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*SOUND, "model", "weights", "train", "split", "search"]),
                       json_values, min_size=1))  # fmt: skip
def test_any_tree_is_read_or_answered_with_faults(sections: dict[str, Any]) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        study = parse_study(yaml.safe_dump({**SOUND, **sections}))
    except StudyError as error:
        faults = error.faults
    else:
        study.at(study.centre())
    assert len({str(fault) for fault in faults}) == len(faults)
