"""The command `mtl`: parse, call a stage, print, exit code.

Nothing heavy is imported before a command needs it: `mtl --help` answers at once, and `mtl check`
loads neither torch nor MLflow. Messages go to stderr, results to stdout.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from pipeline.cli.output import error_text, say
from pipeline.cli.parser import Arguments, make_parser
from pipeline.errors import Interrupted, PipelineError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 failed while running, 2 the input is wrong, 3 a gate refused, 130 interrupted.
    """
    arguments = make_parser().parse_args(argv)
    command: Callable[[Arguments], int | None] = arguments.command
    as_json = getattr(arguments, "json", False)
    logging.getLogger("pipeline.progress").setLevel(logging.WARNING if as_json else logging.NOTSET)
    try:
        return command(arguments) or 0
    except PipelineError as error:
        say(error_text(error, as_json))
        if isinstance(error, Interrupted):
            say("Run the same command again to go on.")
        return error.exit_code
    except KeyboardInterrupt:
        say("mtl: stopped. Run the same command again to go on.")
        return Interrupted.exit_code
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
