"""Every method by the name that a study file uses: a new one is a file and a line here.

Nothing heavy is imported: an entry names its class as `module:Class`, loaded when first used, so
that a study is checked without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipeline.errors import Fault, StudyError, near_miss


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        target: `module:Name` of the class or function.
        about: One phrase, shown by editors through the JSON Schema.
        options: Keys of its section that only some methods read; giving one to a method that
            does not read it is a fault.
        metrics: For a kind of task: its metrics, the default primary one first.
    """

    target: str
    about: str
    options: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


_CLASS_OPTIONS = ("class_weights",)

CATALOGUE: Mapping[str, Mapping[str, Entry]] = {
    "kind": {
        "binary": Entry(
            "pipeline.tasks.binary:Binary",
            "one of two labels",
            options=("positive", *_CLASS_OPTIONS),
            metrics=("roc_auc", "average_precision", "accuracy", "f1", "log_loss"),
        ),
        "multiclass": Entry(
            "pipeline.tasks.multiclass:Multiclass",
            "one of several labels",
            options=_CLASS_OPTIONS,
            metrics=("macro_f1", "accuracy", "micro_f1", "roc_auc", "log_loss"),
        ),
        "multilabel": Entry(
            "pipeline.tasks.multilabel:Multilabel",
            "any number of labels",
            options=("separator", "threshold", *_CLASS_OPTIONS),
            metrics=("macro_f1", "micro_f1", "accuracy", "roc_auc", "average_precision",
                     "log_loss"),
        ),
        "regression": Entry(
            "pipeline.tasks.regression:Regression",
            "a number",
            options=("loss", "delta"),
            metrics=("r2", "rmse", "mae"),
        ),
        "summarisation": Entry(
            "pipeline.tasks.summarisation:Summarisation",
            "a summary of a document, chosen from its sentences",
            options=("text", "title", "mode", "unit", "budget"),
            metrics=("rougeL", "rouge1", "rouge2"),
        ),
        "abstractive": Entry(
            "pipeline.tasks.abstractive:Abstractive",
            "a text written word by word from a document",
            options=("text", "vocabulary", "read", "write", "width", "beam"),
            metrics=("rougeL", "rouge1", "rouge2"),
        ),
    },
    "sharing": {
        "shared_bottom": Entry(
            "pipeline.models.shared_bottom:SharedBottom", "one trunk for all tasks, a head for each"
        ),
    },
    "strategy": {
        "fixed": Entry(
            "pipeline.training.weighting:Fixed",
            "one weight a task, searched or given",
            options=("low", "high", "values"),
        ),
        "equal": Entry("pipeline.training.weighting:Fixed", "the same weight for every task"),
    },
    "optimizer": {
        "gd": Entry("pipeline.training.optimizers:GradientDescent", "gradient descent, full batch"),
        "sgd": Entry(
            "pipeline.training.optimizers:SGD",
            "stochastic gradient descent with momentum",
            options=("momentum",),
        ),
        "subgradient": Entry(
            "pipeline.training.optimizers:Subgradient", "step lr / sqrt(t), best iterate kept"
        ),
        "adam": Entry("pipeline.training.optimizers:Adam", "adaptive moments"),
        "adamw": Entry("pipeline.training.optimizers:Adam", "adaptive moments, decoupled decay"),
    },
    "schedule": {
        "constant": Entry("pipeline.training.schedules:constant", "the same rate throughout"),
        "cosine": Entry("pipeline.training.schedules:cosine", "half a cosine down to zero"),
    },
    "pruner": {
        "median": Entry(
            "pipeline.driver.pruners:Median", "stop what is below the median of its epoch"
        ),
        "hyperband": Entry(
            "pipeline.driver.pruners:Hyperband", "brackets of successive halving"
        ),
        "none": Entry("pipeline.driver.pruners:Never", "every trial runs to its end"),
    },
    "builtin": {
        "multidigits": Entry(
            "pipeline.data.multidigits:read", "two overlapping digits and their sum"
        ),
    },
}  # fmt: skip


def names(role: str) -> tuple[str, ...]:
    """Returns the names that a role offers, such as `kind` or `optimizer`."""
    return tuple(CATALOGUE[role])


def entry(role: str, name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
        StudyError: The role has no such name; the message gives the nearest.
    """
    found = CATALOGUE[role].get(name)
    if found is None:
        raise StudyError([Fault(role, "is unknown", name, near_miss(name, names(role)))])
    return found


def load(role: str, name: str) -> Any:
    """Imports and returns the class or function that a name stands for."""
    module, _, attribute = entry(role, name).target.partition(":")
    return getattr(import_module(module), attribute)
