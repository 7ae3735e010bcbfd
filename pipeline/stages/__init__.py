"""The public functions: each reads from top to bottom what a stage does, and wires the rooms.

All take a `Study` from `load_study`, a store (a folder, `mlruns` by default, or an opened
`Store`) and, where data comes from Python, `tables`: data frames by source in place of paths.
What a stage has to say goes to `say`, by default to stderr.
"""

from pipeline.stages.comparing import compare
from pipeline.stages.evaluating import evaluate
from pipeline.stages.grouping import group
from pipeline.stages.promoting import load_model, promote, rollback
from pipeline.stages.repairing import repair
from pipeline.stages.reporting import report_studies
from pipeline.stages.searching import search
from pipeline.stages.session import prepare
from pipeline.stages.training import train

__all__ = [
    "compare",
    "evaluate",
    "group",
    "load_model",
    "prepare",
    "promote",
    "repair",
    "report_studies",
    "rollback",
    "search",
    "train",
]
