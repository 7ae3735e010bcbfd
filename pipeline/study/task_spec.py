"""What a study file may say of a task."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import SEARCHABLE, STRICT, Count, Label, Options, Positive


@dataclass(frozen=True, config=STRICT)
class BudgetSpec:
    """How much of a document an extractive summary takes; one of the keys.

    Attributes:
        sentences: Sentences, or clauses with `unit: clause`.
        words: Most words; for Chinese, characters.
        share: Most of the document's words, as a share of them.
        reference: About as many words as the reference has, to compare at equal length; a served
            model, which has no reference, takes the mean share that references have on train.
    """

    sentences: Count | None = None
    words: Count | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    reference: bool = False


@dataclass(frozen=True, config=STRICT)
class TaskSpec:
    """One target to learn.

    Attributes:
        kind: What the target is; a catalogue name, or `module:Name` of your own code.
        target: Column of the labels; several 0/1 columns for `multilabel`.
        source: The task's source; implied where the study has one.
        inputs: Columns of its source that the task reads; by default all inputs. A target of any
            task is never among them. Where tasks of a source read different columns, its rows
            stand once more in the data for each choice, as rows of a source of their own.
        metric: Primary metric; the kind's first where it is not given. It may be `module:Name`
            of your own code.
        per: Column of which each value makes a task of its own.
        positive: The label of a binary task that counts as 1; the rarer one where not given.
        separator: What stands between the labels of a one-column multilabel target.
        threshold: Probability from which a label is given, or `tuned` to choose it on valid: one
            for all labels where the metric is micro_f1, else one a label.
        min_rows: Fewest train rows of a label: rows of a rarer one have no label for this task,
            and are counted. By default none is too rare; but a label must stand in train.
        class_weights: Weight of each label in the loss: `balanced`, or label to weight.
        loss: Loss of a regression.
        delta: Where the Huber loss turns linear, in standard deviations of the target.
        text: Column of the documents to summarise. `target` is then the column of their
            references: a text, or a list of texts of which the nearest counts.
        title: Column of the documents' titles, where they are known when predicting.
        mode: Of `summarisation`: `extractive`, the default, chooses sentences of the document;
            `abstractive` writes words, and is the kind `abstractive` by another name.
        decoder: Of `mode: abstractive`: what writes. `own`, the default, is a small decoder that is
            learned from nothing and copies words of its document; `pretrained` trains the decoder
            of the encoder-decoder under `model.encoder.path`, and is the kind
            `abstractive_pretrained` by another name. `own` by default: a step of the other takes a
            hundred times as long, and only some models have one.
        path: Of `abstractive_pretrained`: where the model lies; filled in.
        unit: What is chosen: `sentence` by default, or `clause` (parts between commas), which
            suits titles.
        budget: How much is chosen; by default the mean share that references have on train.
        vocabulary: Words that can be written without copying them; 6000.
        read: Words of a document that are read; 120.
        write: Most words that are written, 24; of a pretrained decoder tokens, 32, which are about
            as much.
        width: Of the decoder's states; 96.
        beam: Texts kept while writing; 3. With 1 the likeliest word is taken each time.
        options: What a kind of your own reads, by names of its own choice.
    """

    kind: str
    target: str | list[str]
    source: str | None = None
    inputs: list[str] | None = None
    metric: str | None = None
    per: str | None = None
    positive: Label | None = None
    separator: str | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tuned"] | None = None
    min_rows: Count | None = None
    class_weights: Literal["balanced"] | dict[Label, Positive] | None = None
    loss: Annotated[Literal["squared", "absolute", "huber"], SEARCHABLE] = "squared"
    delta: Annotated[Positive, SEARCHABLE] = 1.0
    text: str | None = None
    title: str | None = None
    mode: Literal["extractive", "abstractive"] | None = None
    decoder: Literal["own", "pretrained"] | None = None
    path: str | None = None
    unit: Literal["sentence", "clause"] | None = None
    budget: BudgetSpec | None = None
    vocabulary: Annotated[int, Field(ge=10, le=200_000)] | None = None
    read: Annotated[int, Field(ge=2, le=2000)] | None = None
    write: Annotated[int, Field(ge=2, le=500)] | None = None
    width: Annotated[int, Field(ge=2)] | None = None
    beam: Annotated[int, Field(ge=1, le=32)] | None = None
    options: Options = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether a text is written word by word."""
        return self.kind in ("abstractive", "abstractive_pretrained")
