"""What commands print: results on stdout, messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from rich.console import Console


def console(file: Any = None) -> Console:
    """Returns a console as wide as tables need where there is no terminal."""
    from rich.console import Console

    found = Console(file=file)
    return found if found.is_terminal else Console(file=file, width=160)


def error_text(error: PipelineError, as_json: bool) -> str:
    """Returns the message for people; a refused promotion also prints its gates on stdout."""
    decision = getattr(error, "decision", None)
    if decision is not None and as_json:
        print_json(decision.to_json())
    elif decision is not None:
        from pipeline.report.tables import gates_table

        console().print(gates_table(decision.to_json()))
    return f"mtl: {error}"


def print_json(values: Mapping[str, Any]) -> None:
    """Prints one JSON document; numbers that are not finite become null."""
    from pipeline.driver.json_files import finite

    print(json.dumps(finite(values), indent=2, allow_nan=False))


def say(text: str) -> None:
    """Prints a message for people."""
    print(text, file=sys.stderr)
