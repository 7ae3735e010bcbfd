"""A model's answers for a whole table, however long, in constant memory."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.chunks import ROWS, look_through
from pipeline.data.tables import check_output, open_output
from pipeline.errors import InputError
from pipeline.serving.loading import LoadedModel
from pipeline.stages.promoting import load_model
from pipeline.stages.session import DEFAULT_STORE
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.tracking.store import Store


def predict_table(
    model: LoadedModel | str,
    table: Path,
    output: Path,
    store: Store | Path | str = DEFAULT_STORE,
    tracking_uri: str | None = None,
    say: Say = say_on_stderr,
    size: int = ROWS,
) -> int:
    """Writes a model's answers for each row of a table, in the order of the rows.

    The table is read twice (see `data.chunks`), a few thousand rows at a time.

    Args:
        model: A loaded model, or the name of one: see `load_model`.
        table: CSV, TSV, JSON Lines or Parquet, plain or gzipped.
        output: A name that ends in `.csv`, `.jsonl` or `.parquet`, or one of them and `.gz`.
        store: Where the model is recorded.
        tracking_uri: A server in place of the store's database.
        say: Told how far it is, every few seconds.
        size: Rows at a time.

    Returns:
        How many rows there were.

    Raises:
        InputError: There is no such model or table, or the output cannot be written.
        DataError: A row cannot be read; nothing was written.
    """
    check_output(output)  # a name that cannot be written is told before the work
    if not table.is_file():
        raise InputError(f"There is no table {table}. Name a CSV, TSV, JSON Lines or Parquet file.")
    if output.exists() and output.samefile(table):
        raise InputError(f"{output} is the table itself. Write the answers to another file.")
    found = load_model(model, store, tracking_uri) if isinstance(model, str) else model
    progress = LongWork(say)
    rows = look_through(table, size, lambda n_rows: progress(f"Rows seen of {table.name}", n_rows))
    n_done = 0
    with open_output(output) as write:
        for chunk in rows.chunks():
            write(found.predict(chunk))
            n_done += len(chunk)
            progress("Rows answered", n_done, rows.n_rows)
    return n_done
