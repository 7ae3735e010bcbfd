"""`python -m pipeline.cli` is the command `mtl`."""

import sys

from pipeline.cli import main

if __name__ == "__main__":  # spawned workers import this file too
    sys.exit(main())
