"""Everything that gives a network its shape, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

_TUPLES = ("layers", "head_layers", "n_codes", "linear")


@dataclass(frozen=True)
class Architecture:
    """Everything that gives a network its shape; members of one population share it.

    Attributes:
        sharing: Catalogue name.
        layers: Width of each layer of the trunk.
        activation: Non-linearity.
        norm: `none`, `layer` or `batch`.
        head_layers: Width of each hidden layer of a head.
        embedding: Width of a category's vector.
        n_numeric: Numeric inputs.
        n_codes: Codes of each categorical input.
        heads: Task to outputs of its head, in the order of the tasks; of a task that writes, what
            the trunk says to its decoder.
        generators: Task to the shape of its decoder, for tasks that write; that of a pretrained
            one has a `path`.
        readers: Encoder of texts to the shape of its network, where its vectors are learned.
        linear: Tasks with a linear model, of which the last numeric inputs are the outputs.
        options: Keys of the section `model` that only this sharing reads, such as `experts`.
    """

    sharing: str
    layers: tuple[int, ...]
    activation: str
    norm: str
    head_layers: tuple[int, ...]
    embedding: int
    n_numeric: int
    n_codes: tuple[int, ...]
    heads: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    generators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    readers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    linear: tuple[str, ...] = ()

    @property
    def n_features(self) -> int:
        """Width of the encoded inputs that a task reads."""
        n_read = self.n_trunk + self.n_read
        return n_read + len(self.n_codes) * self.embedding

    @property
    def n_said(self) -> int:
        """Outputs of linear models."""
        return sum(self.heads[task] for task in self.linear)

    @property
    def n_trunk(self) -> int:
        """Numeric inputs that the trunk reads."""
        return self.n_numeric - self.n_said

    @property
    def n_read(self) -> int:
        """Width of what learned encoders say of texts."""
        return sum(int(shape["width"]) for shape in self.readers.values())

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the rows of texts that the network reads: see `Part.texts`."""
        return tuple(self.readers)

    @property
    def reads_states(self) -> bool:
        """Whether a batch has states of tokens: hundreds of numbers for each."""
        brought = any(shape.get("below") for shape in self.readers.values())
        return brought or any("path" in shape for shape in self.generators.values())

    def with_models_in(self, folder: str) -> Architecture:
        """Returns it with the pretrained model, where it trains one, in another folder."""
        readers, generators = (
            {name: {**shape, "path": folder} if "path" in shape else shape
             for name, shape in shapes.items()}
            for shapes in (self.readers, self.generators)
        )  # fmt: skip
        return replace(self, readers=readers, generators=generators)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; the order of `heads` is kept."""
        return {**asdict(self), "heads": dict(self.heads)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """Reads what `to_json` gave."""
        tuples = {key: tuple(values[key]) for key in _TUPLES}
        return cls(**{**values, **tuples})
