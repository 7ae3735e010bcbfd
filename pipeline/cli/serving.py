"""What is done with a promoted model: answer for a table, answer over HTTP."""

from __future__ import annotations

import time

from pipeline.cli.arguments import Arguments, where
from pipeline.cli.output import say


def predict(arguments: Arguments) -> None:
    """Answers for every row of a table."""
    from pipeline.stages.predicting import predict_table

    started = time.monotonic()
    n_rows = predict_table(arguments.model, arguments.table, arguments.output, **where(arguments))
    say(f"Wrote {n_rows} rows to {arguments.output} in {time.monotonic() - started:.1f} s.")
