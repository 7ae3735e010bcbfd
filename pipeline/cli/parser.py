"""The grammar of the command `mtl`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.cli import commands as run
from pipeline.cli import repairing, serving
from pipeline.cli.rollback import rollback as run_rollback

Arguments = argparse.Namespace


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser; each command sets `command` to the function that runs it."""
    parser = argparse.ArgumentParser(
        prog="mtl",
        description="Tuned, tracked, comparable multi-task models from one YAML file.",
        epilog="Exit codes: 0 done, 1 failed while running, 2 the input is wrong, "
        "3 a promotion gate refused, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    store, study, result = _store_options(), _study_options(), _json_option()
    device = _device_option()

    init = commands.add_parser("init", help="look at a table and write a study file")
    init.add_argument("table", type=Path, help="CSV, TSV, JSON Lines or Parquet")
    init.add_argument("--target", action="append", required=True, metavar="COL[:KIND]",
                      help="column to learn; repeat for several tasks")  # fmt: skip
    init.add_argument("--name", help="of the study; by default the table's name")
    init.add_argument("-o", "--output", type=Path, required=True, help="study file to write")
    init.set_defaults(command=run.init)

    check = commands.add_parser("check", parents=[_study_options(optional=True), result],
                                help="validate a study file and the head of its data")  # fmt: skip
    check.add_argument("--data-rows", default=1000, type=_rows, metavar="N|all",
                       help="rows of the data to look at")  # fmt: skip
    check.add_argument("--schema", action="store_true",
                       help="print the JSON Schema of study files, for editors")  # fmt: skip
    check.add_argument("--keys", action="store_true",
                       help="print every key of study files, its default and meaning")  # fmt: skip
    check.set_defaults(command=run.check)

    prepare = commands.add_parser("prepare", parents=[study, store, result],
                                  help="stage 1: read, split, encode, cache the data")  # fmt: skip
    prepare.set_defaults(command=run.prepare)

    train = commands.add_parser("train", parents=[study, store, result, device],
                                help="stage 2: train one model at the centres")  # fmt: skip
    train.add_argument("--trial", type=int, help="train this trial's values again")
    train.set_defaults(command=run.train)

    evaluate = commands.add_parser("evaluate", parents=[study, store, result, device],
                                   help="stage 3: every metric of one trial's model")  # fmt: skip
    evaluate.add_argument("--trial", default="best", help="number of a trial, or best")
    evaluate.add_argument("--split", choices=("valid", "test"), default="valid")
    evaluate.set_defaults(command=run.evaluate)

    search = commands.add_parser("search", parents=[study, store, result, device],
                                 help="launch or resume a study's search")  # fmt: skip
    search.add_argument("--trials", type=_positive, help="total of finished trials at the end")
    search.add_argument("--timeout", type=_duration, metavar="TIME",
                        help="90s, 10m, 2h: after this nothing further starts")  # fmt: skip
    search.add_argument("--workers", type=_positive,
                        help="local processes (one a core); changes no result")  # fmt: skip
    search.add_argument("--fresh", action="store_true",
                        help="archive what an earlier launch left and start again")  # fmt: skip
    search.add_argument("--baselines", action="store_true",
                        help="search the rows to compare with too")  # fmt: skip
    search.set_defaults(command=run.search)

    show = commands.add_parser("show", parents=[study, store, result],
                               help="show the trials, also while the study runs")  # fmt: skip
    show.add_argument("--trial", type=int, help="show everything of one trial")
    show.set_defaults(command=run.show)

    compare = commands.add_parser("compare", parents=[_several_studies(), store, result, device],
                                  help="compare the best trial with its baselines")  # fmt: skip
    compare.add_argument("--split", choices=("valid", "test"), default="test")
    compare.add_argument("--read-only", action="store_true", help="train and record nothing")
    compare.add_argument("--html", type=Path, metavar="FILE",
                         help="write the report of these studies as one HTML file")  # fmt: skip
    compare.add_argument("--workers", type=_positive,
                         help="local processes (one a core); changes no result")  # fmt: skip
    compare.set_defaults(command=run.compare)

    group = commands.add_parser("group", parents=[study, store, result, device],
                                help="which tasks should share a model")  # fmt: skip
    group.add_argument("--budget", type=_positive, metavar="N",
                       help="most models to train; to be stated above 20 tasks")  # fmt: skip
    group.add_argument("--workers", type=_positive, help="local processes (default: one a core)")
    group.set_defaults(command=run.group)

    ui = commands.add_parser("ui", parents=[study, store, result],
                             help="look at a study in MLflow's UI")  # fmt: skip
    ui.add_argument("--port", type=_port, help="of 127.0.0.1 (default: a free one)")
    ui.add_argument("--no-browser", action="store_false", dest="browser",
                    help="print where to look, and open nothing")  # fmt: skip
    ui.set_defaults(command=run.ui)

    promote = commands.add_parser("promote", parents=[study, store, result],
                                  help="register a trial's model and move the alias")  # fmt: skip
    promote.add_argument("--trial", default="best", help="number of a trial, or best")
    promote.add_argument("--dry-run", action="store_true", help="decide, and register nothing")
    promote.set_defaults(command=run.promote)

    rollback = commands.add_parser("rollback", parents=[store, result],
                                   help="move an alias back to the version before")  # fmt: skip
    rollback.add_argument("model", help="NAME or NAME@ALIAS")
    rollback.add_argument("--to", metavar="VERSION", help="an earlier version of the alias")
    rollback.add_argument("--dry-run", action="store_true", help="tell, and move nothing")
    rollback.set_defaults(command=run_rollback)

    predict = commands.add_parser("predict", parents=[store],
                                  help="answer for every row of a table")  # fmt: skip
    predict.add_argument("model", help="NAME@ALIAS, NAME/VERSION or the id of a run")
    predict.add_argument("table", type=Path, help="CSV, TSV, JSON Lines or Parquet")
    predict.add_argument("-o", "--output", type=Path, required=True,
                         help="file to write: .csv, .jsonl or .parquet, or with .gz")  # fmt: skip
    predict.set_defaults(command=serving.predict)

    serve = commands.add_parser("serve", parents=[store], help="answer over HTTP")
    serve.add_argument("model", help="NAME@ALIAS, NAME/VERSION or the id of a run")
    serve.add_argument("--port", type=_port, help="port of 127.0.0.1 (default: a free one)")
    serve.set_defaults(command=serving.serve)

    repair = commands.add_parser("repair", parents=[study, store, result],
                                 help="find and mend what a crash left of a study")  # fmt: skip
    repair.add_argument("--dry-run", action="store_true", help="tell, and change nothing")
    repair.set_defaults(command=repairing.repair)
    return parser


def _store_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--store", type=Path, metavar="DIR",
                        help="folder of all records ($MTL_STORE, else mlruns)")  # fmt: skip
    parser.add_argument("--tracking-uri", metavar="URI",
                        help="an MLflow server in place of the store's own database")  # fmt: skip
    return parser


def _study_options(optional: bool = False) -> argparse.ArgumentParser:
    parser = _data_options()
    parser.add_argument("study", type=Path, nargs="?" if optional else None, help="study file")
    return parser


def _several_studies() -> argparse.ArgumentParser:
    parser = _data_options()
    parser.add_argument("studies", type=Path, nargs="+", metavar="study", help="study files")
    return parser


def _data_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="where data files are that are not beside the study file "
                        "(default: $MTL_DATA)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="a value in place of the file's: train.lr=0.001")  # fmt: skip
    return parser


def _json_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _device_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where to train (auto: a GPU where there is one)")  # fmt: skip
    return parser


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, found {text}")
    return number


def _port(text: str) -> int:
    number = _positive(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, found {text}")
    return number


def _rows(text: str) -> int | None:
    return None if text == "all" else _positive(text)


def _duration(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 10m or 2h, found {text}")
    return seconds


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from importlib.metadata import version

        print(version("mtl-pipeline"))
        raise SystemExit(0)
