import re
from typing import Any

import pytest
import yaml
from study_texts import EXAMPLE, small

from pipeline.study.loading import schema

PYTHON_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
}  # fmt: skip


def accepts(rule: dict[str, Any], value: Any, whole: dict[str, Any]) -> bool:
    """Checks a value by those words of JSON Schema that the study's schema uses."""
    if "$ref" in rule:
        return accepts(whole["$defs"][rule["$ref"].rpartition("/")[2]], value, whole)
    if "anyOf" in rule and not any(accepts(branch, value, whole) for branch in rule["anyOf"]):
        return False
    if "oneOf" in rule and sum(accepts(branch, value, whole) for branch in rule["oneOf"]) != 1:
        return False
    if "type" in rule and not _has_type(rule["type"], value):
        return False
    if "pattern" in rule and not re.search(rule["pattern"], value):
        return False
    if value not in rule.get("enum", [value]) or value != rule.get("const", value):
        return False
    if isinstance(value, dict):
        return set(rule.get("required", [])) <= set(value) and all(
            _accepts_entry(rule, key, inner, whole) for key, inner in value.items()
        )
    if isinstance(value, list):
        return all(accepts(rule.get("items", {}), inner, whole) for inner in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return (
        rule.get("minimum", value) <= value <= rule.get("maximum", value)
        and rule.get("exclusiveMinimum", value - 1) < value
        and value < rule.get("exclusiveMaximum", value + 1)
    )


def _accepts_entry(rule: dict[str, Any], key: str, value: Any, whole: dict[str, Any]) -> bool:
    if key in rule.get("properties", {}):
        return accepts(rule["properties"][key], value, whole)
    for pattern, inner in rule.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return accepts(inner, value, whole)
    others = rule.get("additionalProperties", {})
    return others is not False and accepts(others, value, whole)


def _has_type(name: str, value: Any) -> bool:
    if name in ("number", "integer"):
        wanted = int if name == "integer" else int | float
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, PYTHON_TYPES[name])


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return schema()


def test_the_schema_accepts_the_example(whole: dict[str, Any]) -> None:
    assert whole["$schema"].endswith("2020-12/schema")
    assert accepts(whole, yaml.safe_load(EXAMPLE), whole)


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"layers": {"choices": [[64], [32, 32]]}}},
        {"train": {"clip": {"low": 0.1, "high": 1.0}, "patience": None}},
        {"weights": {"values": {"a": 1, "b": {"low": 0.1, "high": 1, "log": True}}}},
        {"model": {"sharing": {"choices": ["mmoe", "my.trunks:Deep"]}, "stitch": 0.5}},
        {"model": {"sharing": "my_trunks:Deep", "options": {"depth": {"low": 1, "high": 3}}}},
        {"train": {"sampling": "uniform"}},
        {"train": {"sampling": {"temperature": {"choices": [1, 2, 5]}}}},
    ],
)
def test_the_schema_accepts_ranges_where_they_may_stand(
    whole: dict[str, Any], sections: dict[str, Any]
) -> None:
    assert accepts(whole, yaml.safe_load(small(**sections)), whole)


@pytest.mark.parametrize(
    "sections",
    [
        {"sede": 3},
        {"train": {"lr": "fast"}},
        {"train": {"lr": 0}},
        {"train": {"lr": {"low": 0.1}}},
        {"train": {"sampling": "uniformly"}},
        {"train": {"sampling": {"temperature": 0.5}}},
        {"train": {"lr": {"low": 0.1, "high": 1, "lag": 2}}},
        {"search": {"trials": {"low": 1, "high": 3}}},
        {"model": {"activation": "rely"}},
        {"model": {"sharing": "mixture"}},
        {"model": {"sharing": "my-trunks:Deep"}},
        {"tasks": {"a": {"kind": "binary"}}},
    ],
)
def test_the_schema_refuses_what_the_study_refuses(
    whole: dict[str, Any], sections: dict[str, Any]
) -> None:
    assert not accepts(whole, yaml.safe_load(small(**sections)), whole)
