"""The section `model.encoder` of a study file."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import SEARCHABLE, STRICT, Count, Positive, Share

LAST_N = 2
"""Layers that `last_n` trains where it is not told how many."""


@dataclass(frozen=True, config=STRICT)
class EncoderSpec:
    """How texts become inputs; only where a source has `text`.

    Keys where a range may stand give the network its shape: a study has one prepared data set,
    so what shapes that is the same for all trials.

    Attributes:
        kind: A catalogue name, or several whose vectors stand side by side. Where it is not
            given: `tfidf`, and `pretrained` beside it where `path` is given, because the two know
            different things: which words stand there, and what they mean.
        width: Of `tfidf`: numbers that the term weights of a document are reduced to.
        signs: Of `tfidf`: signs (punctuation, brackets) and their pairs with the words beside them
            as terms too, capitals kept: how a text is written, beside what it says. Off by
            default: it pays where classes differ in who wrote. Without test, the library of a
            docstring gained 0.03 of accuracy, the discipline of Chinese papers lost 0.08.
        linear: Of `tfidf`: a linear model of the term weights for each task but those that write,
            fitted on train when data is prepared; what it says is added to the outputs of that
            task's own head, times a scale that is learned. Off by default, since it takes 16 fits
            a task and does not always pay: on valid over three splits csl_zh gained 0.007 to
            0.010 in the mean of its tasks, the topic of news nothing.
        path: Of `pretrained`: a folder, or a name of the Hugging Face hub.
        finetune: Of `pretrained`: what of the model is trained. `none` computes a vector of each
            document once, and a trial costs what one over a table costs; `last_n` trains its last
            layers, `lora` low-rank maps beside linear ones (Hu et al., 2021), `full` all of it.
            What is below the first trained layer is computed once. `none` by default: on a CPU a
            step of the others takes a hundred times as long.
        layers: Of `last_n` and `lora`: last layers that are trained, or have maps beside them. By
            default 2 for `last_n`, which leaves two thirds of a small model to be computed once,
            and all for `lora`.
        most_layers: The most that `layers` may be in a trial, which is where states are kept;
            filled in.
        for_decoder: Of `pretrained`: whether its decoder writes for a task, so that a state of
            each token is kept; filled in.
        rank: Of `lora`: rank of its maps. 8, with which Hu et al. fine-tune RoBERTa.
        alpha: Of `lora`: maps count `alpha` / `rank`. 16, twice the rank, as is usual, so that a
            few epochs move them.
        max_tokens: Of `pretrained` and `transformer`: tokens of a document that are read; what
            comes later is cut off, and counted.
        vocabulary: Of `bag`: words that have a vector of their own, those of most documents; of
            `transformer`: pieces of words that its tokenizer knows. 8,192: every row of the table
            costs a step of the optimizer, and rarer words stand in few documents.
        max_words: Of `bag`: words of a document that are read; what comes later is cut off, and
            counted.
        embed: Of `bag` and `transformer`: width of what is learned for a word or a piece, and of
            what is said of a document. 64: small tables, since there is little data to fill them.
        buckets: Of `bag`: vectors that pairs of words share, each pair by its hash; 0 reads words
            alone.
        pool: Of `bag` and `transformer`: what is said of a document is the mean of its vectors,
            or a mean in which each has a learned weight.
        depth: Of `transformer`: layers. Two: a thousand documents do not fill more.
        heads: Of `transformer`: attentions side by side in a layer, each of `embed` // `heads`
            numbers.
        dropout: Of `transformer`: share of activations dropped behind its tokens and after each
            part of a layer; of `pretrained` where it or its decoder is trained, in the places that
            the model has for it. 0.1, as Devlin et al. train BERT.
    """

    kind: str | list[str] | None = None
    width: Annotated[int, Field(ge=2, le=8192)] = 512
    signs: bool = False
    linear: bool = False
    path: str | None = None
    finetune: Literal["none", "last_n", "lora", "full"] = "none"
    layers: Annotated[Count | None, SEARCHABLE] = None
    most_layers: Count | None = None
    for_decoder: bool = False
    rank: Annotated[int, Field(ge=1, le=512), SEARCHABLE] = 8
    alpha: Annotated[Positive, SEARCHABLE] = 16.0
    max_tokens: Annotated[int, Field(ge=8)] = 256
    vocabulary: Annotated[int, Field(ge=16, le=2**20)] = 8192
    max_words: Annotated[int, Field(ge=1, le=2**16)] = 1024
    embed: Annotated[Count, SEARCHABLE] = 64
    buckets: Annotated[int, Field(ge=0, le=2**22), SEARCHABLE] = 8192
    pool: Annotated[Literal["mean", "attention"], SEARCHABLE] = "mean"
    depth: Annotated[Count, SEARCHABLE] = 2
    heads: Annotated[Count, SEARCHABLE] = 4
    dropout: Annotated[Share, SEARCHABLE] = 0.1

    @property
    def kinds(self) -> tuple[str, ...]:
        """The encoders, in the order of their vectors."""
        if self.kind is None:
            return ("tfidf",) if self.path is None else ("tfidf", "pretrained")
        return (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)

    @property
    def trains_pretrained(self) -> bool:
        """Whether layers of a pretrained model are trained."""
        return "pretrained" in self.kinds and self.finetune != "none"

    @property
    def trained_layers(self) -> int | None:
        """Last layers that are trained, or have maps beside them; None for all of the model."""
        if self.finetune == "last_n":
            return self.layers or LAST_N
        return self.layers if self.finetune == "lora" else None

    def fitted(self) -> dict[str, Any]:
        """Returns the keys that shape prepared data, not those of the network alone."""
        hints = get_type_hints(type(self), include_extras=True)
        found = {
            key: value for key, value in asdict(self).items()
            if SEARCHABLE not in get_args(hints[key])
        }  # fmt: skip
        unread = ["most_layers", "finetune"] if self.finetune == "none" else []
        unread += [key for key in ("for_decoder", "signs") if not found[key]]
        if self.finetune != "none":
            found["finetune"] = "states" if self.most_layers else "tokens"
        return {key: value for key, value in found.items() if key not in unread}
