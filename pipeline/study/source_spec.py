"""The sections `sources` and `split`: where rows come from, and which part each is in."""

from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT, Share


@dataclass(frozen=True, config=STRICT)
class SplitSpec:
    """How rows become train, valid and test.

    Attributes:
        column: Ready-made split: a column that holds train, valid, test.
        train: Share of rows to train on (without `column`).
        valid: Share of rows to select on. With `column`, the share taken from its train rows
            where the column has no valid rows.
        test: Share of rows to test on (without `column`).
        stratify: Task or column whose labels each part has in equal shares.
        group: Column whose values never stand in two parts.
        ungrouped: What happens to a row without a value in `group`: `refuse` by default, since
            a forgotten group is a leak; `own` makes it a group of its own, `drop` leaves it out.
        time: Column by which rows are ordered: train first, test last.
        duplicates: What happens to a row whose inputs also stand in another part: `keep` counts
            it, `drop` keeps the one in test, else in valid.
    """

    column: str | None = None
    train: Share | None = None
    valid: Share | None = None
    test: Share | None = None
    stratify: str | None = None
    group: str | None = None
    ungrouped: Literal["refuse", "own", "drop"] = "refuse"
    time: str | None = None
    duplicates: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, config=STRICT)
class SourceSpec:
    """One table of rows.

    Attributes:
        path: CSV, TSV, JSON Lines or Parquet, plain or gzipped; a path, a glob, or a list of them.
        builtin: A table that needs no file, by its catalogue name.
        about: Where the data comes from; printed when a file is missing.
        delimiter: Column separator of a CSV file; found out where it is not given.
        id: Column that names a row; without it a row is named by its content.
        drop: Columns to leave out.
        numeric: Columns to read as numbers, whatever they look like.
        categorical: Columns to read as categories, whatever they look like.
        boolean: Columns to read as yes and no, whatever they look like.
        text: Column, or columns read as one document; others beside it are read only if listed.
            A cell may hold a list of texts, such as sentences, which are read as one.
        split: Overrides the study's split for this source.
    """

    path: str | list[str] | None = None
    builtin: str | None = None
    about: str = ""
    delimiter: str | None = None
    id: str | None = None
    drop: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    boolean: list[str] = field(default_factory=list)
    text: str | list[str] | None = None
    split: SplitSpec | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of `text`."""
        return tuple([self.text] if isinstance(self.text, str) else self.text or ())
