"""The public list of the package, and that it costs nothing until it is used."""

import inspect
import subprocess
import sys

import pytest

import pipeline
from pipeline import (
    compare,
    evaluate,
    group,
    load_model,
    load_study,
    prepare,
    promote,
    rollback,
    search,
    train,
)  # fmt: skip

PUBLIC = {"load_study", "prepare", "train", "evaluate", "search", "compare", "promote",
          "load_model", "group", "rollback"}  # fmt: skip


def test_the_public_list() -> None:
    assert set(pipeline.__all__) == PUBLIC


@pytest.mark.parametrize(
    "verb",
    [load_study, prepare, train, evaluate, search, compare, promote, rollback, load_model, group],
)
def test_verbs_are_functions_with_a_docstring(verb: object) -> None:
    assert inspect.isfunction(verb)
    assert inspect.getdoc(verb)
    assert verb is getattr(pipeline, verb.__name__)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no_such_verb"):
        pipeline.no_such_verb  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, pipeline; print(sorted({'torch', 'mlflow', 'pandas'} & {*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
