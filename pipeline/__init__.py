"""Multi-task studies: one YAML file in; a tuned, tracked, comparable, promoted model out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.stages import (
        compare,
        evaluate,
        group,
        load_model,
        prepare,
        promote,
        rollback,
        search,
        train,
    )
    from pipeline.study.loading import load_study

__all__ = [
    "compare",
    "evaluate",
    "group",
    "load_model",
    "load_study",
    "prepare",
    "promote",
    "rollback",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    # Loaded when first used: torch, MLflow and Optuna together take six seconds.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "pipeline.study.loading" if name == "load_study" else "pipeline.stages"
    return getattr(import_module(module), name)
