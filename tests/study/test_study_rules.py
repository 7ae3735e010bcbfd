"""Rules between keys that later steps would find too late."""

import pytest

from pipeline.errors import StudyError
from pipeline.study.loading import parse_study

TEXT = """
name: small
sources: {table: {path: table.csv}}
tasks: {size: {kind: regression, target: size}}
"""


@pytest.mark.parametrize("alias", ["latest", "previous", "v2"])
def test_an_alias_that_is_taken_is_refused(alias: str) -> None:
    with pytest.raises(StudyError, match=r"`promote\.alias` must not be") as refused:
        parse_study(TEXT, overrides={"promote.alias": alias})
    assert alias in str(refused.value)


def test_an_alias_that_only_begins_like_a_version_is_fine() -> None:
    assert parse_study(TEXT, overrides={"promote.alias": "v2x"}).spec.promote.alias == "v2x"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("beat", ["linear", "boostign"], r"`promote\.gates\.beat`.*Did you mean `boosting`"),
        ("confidence", 1.0, r"`promote\.gates\.confidence` must be below 1"),
        ("confidence", 0.2, r"`promote\.gates\.confidence` must be at least 0\.5"),
        ("max_latency_ms", 0, r"`promote\.gates\.max_latency_ms` must be above 0"),
        ("max_size_mb", -1, r"`promote\.gates\.max_size_mb` must be above 0"),
        ("clean_git", "maybe", r"`promote\.gates\.clean_git`"),
    ],
)
def test_gates_that_nothing_can_pass_or_fail_are_refused(
    key: str, value: object, told: str
) -> None:
    with pytest.raises(StudyError, match=told):
        parse_study(TEXT, overrides={f"promote.gates.{key}": value})


def test_gates_have_defaults_that_ask_for_a_sure_gain() -> None:
    gates = parse_study(TEXT).spec.promote.gates
    assert (gates.min_gain, gates.confidence, gates.beat) == (0.0, 0.95, [])
    assert gates.max_latency_ms is gates.max_size_mb is None
    beat = ["linear", "boosting", "equal_weights", "single_task", "constant"]
    assert parse_study(TEXT, overrides={"promote.gates.beat": beat}).spec.promote.gates.beat == beat


@pytest.mark.parametrize("place", ["split", "sources.table.split"])
def test_groups_cannot_be_stratified(place: str) -> None:
    split = {"group": "person", "stratify": "size"}
    with pytest.raises(StudyError, match=f"`{place}.stratify` cannot stand beside `group`"):
        parse_study(TEXT, overrides={place: split})


TWO = """
name: two
sources: {near: {path: near.csv}, far: {path: far.csv}}
tasks:
  rich: {kind: binary, target: rich, source: near}
  size: {kind: regression, target: size, source: far}
"""
SUMMARY = """
name: news
sources: {news: {path: news.csv, text: article}}
tasks:
  topic: {kind: multiclass, target: topic}
  short: {kind: summarisation, target: summary, text: article}
"""


@pytest.mark.parametrize("text", [TWO, SUMMARY], ids=["two sources", "a source and its pieces"])
def test_sources_are_mixed_as_the_study_says(text: str) -> None:
    assert parse_study(text).spec.train.exponent == 1
    for sampling, exponent in (("proportional", 1), ("uniform", 0), ({"temperature": 4}, 0.25)):
        study = parse_study(text, overrides={"train.sampling": sampling})
        assert study.spec.train.exponent == exponent


def test_the_temperature_of_a_mix_may_be_searched() -> None:
    found = {"low": 1, "high": 4, "log": True}
    study = parse_study(TWO, overrides={"train.sampling.temperature": found})
    assert study.spec.train.exponent == 0.5  # the centre
    assert study.at({"train.sampling.temperature": 4.0}).train.exponent == 0.25


def test_a_summary_alone_has_no_other_rows_to_be_mixed_with() -> None:
    text = SUMMARY.replace("  topic: {kind: multiclass, target: topic}\n", "")
    with pytest.raises(StudyError, match=r"`train\.sampling` is not read"):
        parse_study(text, overrides={"train.sampling": "uniform"})


@pytest.mark.parametrize("optimizer", ["gd", {"choices": ["adamw", "gd"]}])
def test_a_full_batch_has_no_mix(optimizer: object) -> None:
    settings = {"train.sampling": {"temperature": {"choices": [1, 3]}}}
    with pytest.raises(StudyError, match=r"cannot stand beside `train\.sampling`.*Found gd"):
        parse_study(TWO, overrides={**settings, "train.optimizer": optimizer})
    parse_study(TWO, overrides={"train.sampling": "proportional", "train.optimizer": optimizer})


QA = """
name: qa
sources: {qa: {path: qa.csv, text: [answer, source], id: id}}
tasks:
  qtype: {kind: multiclass, target: qtype, inputs: [answer]}
  question: {kind: abstractive, target: question, text: answer}
"""


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("tasks.qtype.inputs", ["question"], "must not name the target of task `question`"),
        ("tasks.qtype.inputs", ["answer", "id"], "must not name the id"),
        ("tasks.qtype.inputs", [], "must name a column"),
        ("tasks.qtype.inputs", ["answer", "answer"], "must not list a column twice"),
        ("tasks.qtype.inputs", ["date"], "must be listed by its source, which has texts"),
        ("tasks.question.text", "qtype", "must not be the target of task `qtype` too"),
        (
            "tasks.qtype",
            {"kind": "summarisation", "target": "qtype", "text": "answer", "inputs": ["answer"]},
            "is not read by `summarisation`",
        ),
    ],
)
def test_a_target_is_never_an_input(key: str, value: object, told: str) -> None:
    assert parse_study(QA).spec.tasks["qtype"].inputs == ["answer"]
    with pytest.raises(StudyError, match=told):
        parse_study(QA, overrides={key: value})


def test_sources_of_views_may_be_mixed() -> None:
    assert parse_study(QA, overrides={"train.sampling": "uniform"}).spec.train.exponent == 0


@pytest.mark.parametrize("kind", ["tfdif", ["tfidf", "tfidf"], ["bag", "trasformer"]])
def test_an_encoder_that_is_wrong_is_one_fault(kind: object) -> None:
    text = """
name: s
sources: {notes: {text: body}}
tasks: {topic: {kind: multiclass, target: topic}}
"""
    with pytest.raises(StudyError) as caught:
        parse_study(text, overrides={"model.encoder": {"kind": kind, "width": 8, "heads": 2}})
    found = [fault for fault in caught.value.faults if fault.key != "model.encoder.heads"]
    assert [fault.key for fault in found] == ["model.encoder.kind"]
