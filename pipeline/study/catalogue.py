"""Every method by the name that a study file uses: a new one is a file and a line here.

Nothing heavy is imported: an entry names its class as `module:Class`, loaded when first used, so
that a study is checked without torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pipeline.errors import Fault, StudyError, near_miss
from pipeline.study.own import import_own, is_own


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        target: `module:Name` of the class or function.
        about: One phrase, shown by editors through the JSON Schema.
        options: Keys of its section that only some methods read; giving one to a method that
            does not read it is a fault.
        network: For an encoder of texts whose vectors are learned: `module:Name` of the network
            that reads its tokens; `target` is what fits them. Likewise what writes for a kind.
        metrics: For a kind of task: its metrics, the default primary one first.
        needs: Modules of an extra of this package that must be installed.
        extra: Which extra; or the whole requirement, where the modules belong to no extra.
    """

    target: str
    about: str
    options: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: str = ""
    network: str = ""

    def missing(self) -> list[str]:
        """Returns the modules that are needed and not installed, importing none of them."""
        return [module for module in self.needs if find_spec(module) is None]

    @property
    def remedy(self) -> str:
        """The command that installs what is missing."""
        requirement = self.extra if "[" in self.extra else f"mtl-pipeline[{self.extra}]"
        return f'pip install "{requirement}"'


def _balance(about: str, *needs: str, extra: str = "balance") -> Entry:
    target = "pipeline.training.weighting.balance:Balance"
    return Entry(target, about, needs=("torchjd", *needs), extra=extra)


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
            options=("min_rows", *_CLASS_OPTIONS),
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
        "abstractive_pretrained": Entry(
            "pipeline.tasks.abstractive_pretrained:PretrainedAbstractive",
            "a text written by the decoder of a pretrained encoder-decoder",
            options=("text", "decoder", "path", "write", "beam"),
            metrics=("rougeL", "rouge1", "rouge2"),
            needs=("transformers",),
            extra="text",
            network="pipeline.models.pretrained_decoder:PretrainedDecoder",
        ),
    },
    "encoder": {
        "tfidf": Entry(
            "pipeline.data.term_vectors:TermVectors",
            "weights of words and pieces of words, reduced to a dense vector",
            options=("width", "signs", "linear"),
        ),
        "pretrained": Entry(
            "pipeline.data.sentence_vectors:SentenceVectors",
            "a Hugging Face encoder, mean pooled; frozen, or trained with the trunk",
            options=("path", "max_tokens", "finetune", "layers", "rank", "alpha", "dropout",
                     "most_layers", "for_decoder"),
            needs=("transformers",),
            extra="text",
            network="pipeline.models.pretrained:Pretrained",
        ),
        "bag": Entry(
            "pipeline.data.word_tokens:WordTokens",
            "learned vectors of words and of pairs of words, averaged",
            options=("vocabulary", "max_words", "embed", "buckets", "pool"),
            network="pipeline.models.bag:Bag",
        ),
        "transformer": Entry(
            "pipeline.data.piece_tokens:PieceTokens",
            "a small transformer over pieces of words, learned from scratch",
            options=("vocabulary", "max_tokens", "embed", "depth", "heads", "dropout", "pool"),
            needs=("tokenizers",),
            extra="text",
            network="pipeline.models.transformer:Transformer",
        ),
    },
    "sharing": {
        "shared_bottom": Entry(
            "pipeline.models.shared_bottom:SharedBottom", "one trunk for all tasks, a head for each"
        ),
        "mmoe": Entry(
            "pipeline.models.mmoe:MMoE",
            "experts that all tasks share, a gate for each task",
            options=("experts",),
        ),
        "cgc": Entry(
            "pipeline.models.ple:CGC",
            "experts of each task and of all, a gate for each task",
            options=("task_experts", "shared_experts"),
        ),
        "ple": Entry(
            "pipeline.models.ple:PLE",
            "levels of experts of each task and of all",
            options=("task_experts", "shared_experts", "levels"),
        ),
        "cross_stitch": Entry(
            "pipeline.models.cross_stitch:CrossStitch",
            "a trunk for each task, mixed after every layer",
            options=("stitch",),
        ),
        "separate": Entry(
            "pipeline.models.separate:Separate", "a trunk for each task, nothing shared"
        ),
    },
    "strategy": {
        "fixed": Entry(
            "pipeline.training.weighting.fixed:Fixed",
            "one weight a task, searched or given",
            options=("low", "high", "values"),
        ),
        "equal": Entry("pipeline.training.weighting.fixed:Fixed", "the same weight for every task"),
        "uncertainty": Entry(
            "pipeline.training.weighting.uncertainty:Uncertainty",
            "learned variances (Kendall et al., 2018)",
            options=("own_lr",),
        ),
        "dwa": Entry(
            "pipeline.training.weighting.dwa:DynamicAverage",
            "more for what falls slower (Liu et al., 2019)",
            options=("temperature",),
        ),
        "random": Entry(
            "pipeline.training.weighting.random:RandomWeights",
            "drawn anew at each step (Lin et al., 2022)",
        ),
        "geometric": Entry(
            "pipeline.training.weighting.geometric:GeometricMean",
            "the geometric mean of the losses (Chennupati et al., 2019)",
        ),
        "log": Entry(
            "pipeline.training.weighting.log:LogLoss",
            "the sum of the logarithms of the losses: no unit matters",
        ),
        "uw_so": Entry(
            "pipeline.training.weighting.uw_so:SoftOptimal",
            "a softmax of the inverse losses (Kirchdorfer et al., 2024)",
            options=("temperature",),
        ),
        "stch": Entry(
            "pipeline.training.weighting.stch:SmoothTchebycheff",
            "mostly what is worst, smoothly (Lin et al., 2024)",
            options=("mu",),
        ),
        "famo": Entry(
            "pipeline.training.weighting.famo:Famo",
            "all losses fall at one rate (Liu et al., 2023)",
            options=("own_lr",),
        ),
        "balance:upgrad": _balance(
            "no step against any task (Quinton and Rey, 2024)", "qpsolvers", "quadprog"
        ),
        "balance:mgda": _balance("the shortest mix of gradients (Sener and Koltun, 2018)"),
        "balance:pcgrad": _balance("conflicts projected away (Yu et al., 2020)"),
        "balance:imtl_g": _balance("equal progress along every gradient (Liu et al., 2021)"),
        "balance:aligned": _balance("gradients made orthogonal (Senushkin et al., 2023)"),
        "balance:dualproj": _balance(
            "the mean, moved where it conflicts (Lopez-Paz and Ranzato, 2017)",
            "qpsolvers", "quadprog",
        ),
        "balance:cagrad": _balance(
            "the mean, bent to the worst task (Liu et al., 2021)", "cvxpy", "clarabel",
            extra="torchjd[cagrad]",
        ),
        "balance:fairgrad": _balance("alpha-fair progress (Ban and Ji, 2024)"),
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
        "halving": Entry(
            "pipeline.driver.pruners:Halving",
            "successive halving in one bracket; asynchronous in the free order",
        ),
        "dominated": Entry(
            "pipeline.driver.pruners:Dominated",
            "several objectives: stop what the median beats on each, or is below a floor",
        ),
        "none": Entry("pipeline.driver.pruners:Never", "every trial runs to its end"),
    },
    "builtin": {
        "docstrings": Entry(
            "pipeline.data.docstrings:read", "documentation of the installed scientific packages"
        ),
        "multidigits": Entry(
            "pipeline.data.multidigits:read", "two overlapping digits and their sum"
        ),
    },
}  # fmt: skip


def names(role: str) -> tuple[str, ...]:
    """Returns the names that a role offers, such as `kind` or `optimizer`."""
    return tuple(CATALOGUE[role])


_CHOOSERS = {"model": "sharing", "weights": "strategy", "train": "optimizer"}
"""Section to the key, and role, whose name decides which others are read."""


def read_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial without those that its own methods do not read.

    Where a strategy, say, is searched beside the weights that only one of them reads, a trial of
    another has values of these weights that mean nothing.

    Args:
        params: Values by dotted path.
    """
    unread = set()
    for section, role in _CHOOSERS.items():
        chosen = params.get(f"{section}.{role}")
        if chosen is not None:
            every = {option for found in CATALOGUE[role].values() for option in found.options}
            every.add("options")  # of the user's own code
            unread |= {f"{section}.{option}" for option in every - {*entry(role, chosen).options}}
    return {
        path: value for path, value in params.items() if ".".join(path.split(".")[:2]) not in unread
    }


def entry(role: str, name: str) -> Entry:
    """Returns the entry of a name; of `module:Name`, one of the user's own code.

    Raises:
        StudyError: The role has no such name; the message gives the nearest.
    """
    if is_own(name):
        metrics = tuple(import_own(name).metrics) if role == "kind" else ()
        return Entry(name, "your own code", ("options",), metrics)
    found = CATALOGUE[role].get(name)
    if found is None:
        raise StudyError([Fault(role, "is unknown", name, near_miss(name, names(role)))])
    return found


def name_faults(key: str, role: str, name: str) -> Iterator[Fault]:
    """Yields what is wrong with a name that a study gives: unknown, or needs what is not installed.

    Args:
        key: Where it stands in the study file.
        role: Such as `kind` or `optimizer`.
        name: Of the catalogue; not one of the user's own code.
    """
    found = CATALOGUE[role].get(name)
    if found is None:
        yield Fault(key, "is unknown", name, near_miss(name, names(role)))
    elif missing := found.missing():
        rule = f"needs {' and '.join(missing)}, not installed here"
        yield Fault(key, rule, name, f"Install with `{found.remedy}`.")


def load(role: str, name: str) -> Any:
    """Imports and returns the class or function that a name stands for."""
    if is_own(name):
        return import_own(name)
    return _imported(entry(role, name).target)


def load_network(encoder: str) -> Any:
    """Imports and returns the network that reads the tokens of an encoder of texts."""
    return _imported(entry("encoder", encoder).network)


def load_decoder() -> Any:
    """Imports and returns the network that writes with a pretrained decoder."""
    return _imported(entry("kind", "abstractive_pretrained").network)


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
