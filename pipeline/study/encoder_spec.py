"""The section `model.encoder` of a study file."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT


@dataclass(frozen=True, config=STRICT)
class EncoderSpec:
    """How texts become inputs; only where a source has `text`.

    Attributes:
        kind: A catalogue name, or several whose vectors stand side by side. Where it is not
            given: `tfidf`, and `pretrained` beside it where `path` is given, because the two know
            different things: which words stand there, and what they mean.
        width: Numbers that the term weights of a document are reduced to.
        path: Of `pretrained`: a folder, or a name of the Hugging Face hub.
        max_tokens: Of `pretrained`: tokens of a document that it reads; what comes later is cut
            off, and counted.
    """

    kind: str | list[str] | None = None
    width: Annotated[int, Field(ge=2, le=8192)] = 512
    path: str | None = None
    max_tokens: Annotated[int, Field(ge=8)] = 256

    @property
    def kinds(self) -> tuple[str, ...]:
        """The encoders, in the order of their vectors."""
        if self.kind is None:
            return ("tfidf",) if self.path is None else ("tfidf", "pretrained")
        return (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)
