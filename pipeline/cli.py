"""The command `mtl`: parse, call a stage, print, exit code.

Nothing heavy is imported before a command needs it: `mtl --help` answers at once, and `mtl check`
loads neither torch nor MLflow. Messages go to stderr, results to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, Interrupted, PipelineError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.study.loading import Study

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 failed while running, 2 the input is wrong, 3 a gate refused, 130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[Arguments], int | None] = arguments.command
    try:
        return command(arguments) or 0
    except PipelineError as error:
        _say(_json_refusal(error, arguments) or f"mtl: {error}")
        if isinstance(error, Interrupted):
            _say("Run the same command again to go on.")
        return error.exit_code
    except KeyboardInterrupt:
        _say("mtl: stopped. Run the same command again to go on.")
        return Interrupted.exit_code
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtl",
        description="Tuned, tracked, comparable multi-task models from one YAML file.",
        epilog="Exit codes: 0 done, 1 failed while running, 2 the input is wrong, "
        "3 a promotion gate refused, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    store, study, result = _store_options(), _study_options(), _json_option()

    init = commands.add_parser("init", help="look at a table and write a study file")
    init.add_argument("table", type=Path, help="CSV, TSV, JSON Lines or Parquet")
    init.add_argument("--target", action="append", required=True, metavar="COL[:KIND]",
                      help="column to learn; repeat for several tasks")  # fmt: skip
    init.add_argument("--name", help="of the study; by default the table's name")
    init.add_argument("-o", "--output", type=Path, required=True, help="study file to write")
    init.set_defaults(command=_init)

    check = commands.add_parser("check", parents=[_study_options(optional=True), result],
                                help="validate a study file and the head of its data")  # fmt: skip
    check.add_argument("--data-rows", default=1000, type=_rows, metavar="N|all",
                       help="rows of the data to look at")  # fmt: skip
    check.add_argument("--schema", action="store_true",
                       help="print the JSON Schema of study files, for editors")  # fmt: skip
    check.set_defaults(command=_check)

    prepare = commands.add_parser("prepare", parents=[study, store, result],
                                  help="stage 1: read, split, encode, cache the data")  # fmt: skip
    prepare.set_defaults(command=_prepare)

    train = commands.add_parser("train", parents=[study, store, result],
                                help="stage 2: train one model at the centres")  # fmt: skip
    train.add_argument("--trial", type=int, help="train this trial's values again")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", parents=[study, store, result],
                                   help="stage 3: every metric of one trial's model")  # fmt: skip
    evaluate.add_argument("--trial", default="best", help="number of a trial, or best")
    evaluate.add_argument("--split", choices=("valid", "test"), default="valid")
    evaluate.set_defaults(command=_evaluate)

    search = commands.add_parser("search", parents=[study, store, result],
                                 help="launch or resume a study's search")  # fmt: skip
    search.add_argument("--trials", type=_positive, help="total of finished trials at the end")
    search.add_argument("--timeout", type=_duration, metavar="TIME",
                        help="90s, 10m, 2h: after this no further cohort starts")  # fmt: skip
    search.add_argument("--workers", type=_positive,
                        help="local processes (one a core); changes no result")  # fmt: skip
    search.add_argument("--fresh", action="store_true",
                        help="archive what an earlier launch left and start again")  # fmt: skip
    search.set_defaults(command=_search)

    show = commands.add_parser("show", parents=[study, store, result],
                               help="show the trials, also while the study runs")  # fmt: skip
    show.add_argument("--trial", type=int, help="show everything of one trial")
    show.set_defaults(command=_show)

    compare = commands.add_parser("compare", parents=[_several_studies(), store, result],
                                  help="compare the best trial with its baselines")  # fmt: skip
    compare.add_argument("--split", choices=("valid", "test"), default="test")
    compare.add_argument("--read-only", action="store_true", help="train and record nothing")
    compare.set_defaults(command=_compare)

    promote = commands.add_parser("promote", parents=[study, store, result],
                                  help="register a trial's model and move the alias")  # fmt: skip
    promote.add_argument("--trial", default="best", help="number of a trial, or best")
    promote.add_argument("--dry-run", action="store_true", help="decide, and register nothing")
    promote.set_defaults(command=_promote)

    predict = commands.add_parser("predict", parents=[store],
                                  help="answer for every row of a table")  # fmt: skip
    predict.add_argument("model", help="NAME@ALIAS, NAME/VERSION or the id of a run")
    predict.add_argument("table", type=Path, help="CSV, TSV, JSON Lines or Parquet")
    predict.add_argument("-o", "--output", type=Path, required=True,
                         help="file to write: .csv, .jsonl or .parquet")  # fmt: skip
    predict.set_defaults(command=_predict)
    return parser


def _init(arguments: Arguments) -> None:
    from pipeline.data.draft import draft_study

    if arguments.output.exists():
        raise InputError(f"{arguments.output} exists already. Choose another file with -o.")
    folder = arguments.output.parent
    text = draft_study(arguments.table, arguments.target, arguments.name, folder)
    arguments.output.write_text(text, encoding="utf-8")
    _say(f"Wrote {arguments.output}. Next: mtl check {arguments.output}")


def _check(arguments: Arguments) -> None:
    from pipeline.study.loading import schema

    if arguments.schema:
        print(json.dumps(schema(), indent=2))
        return
    if arguments.study is None:
        raise InputError("`mtl check` needs a study file, or --schema.")
    from pipeline.data.check import check_data
    from pipeline.errors import StudyError
    from pipeline.report.study import sampled_trials, study_lines

    study = _load(arguments)
    faults, notes = check_data(study.spec, study.folder, study.data_dir, arguments.data_rows)
    if faults:
        raise StudyError(faults, str(arguments.study))
    if arguments.json:
        ranges = {path: str(found) for path, found in study.ranges.items()}
        _print_json({"study": study.spec.name, "tasks": list(study.spec.tasks), "ranges": ranges,
                     "notes": notes, "sampled": sampled_trials(study, 3)})  # fmt: skip
        return
    for line in study_lines(study, notes):
        print(line)


def _prepare(arguments: Arguments) -> None:
    from pipeline.report.study import prepared_json, prepared_lines
    from pipeline.stages import prepare

    prepared = prepare(_load(arguments), _store(arguments))
    if arguments.json:
        _print_json(prepared_json(prepared))
        return
    for line in prepared_lines(prepared):
        print(line)


def _train(arguments: Arguments) -> None:
    from pipeline.report.tables import trial_table
    from pipeline.stages import train

    trained = train(_load(arguments), arguments.trial, **_where(arguments))
    if arguments.json:
        _print_json(trained.record.to_json())
    else:
        _console().print(trial_table(trained.record, "Trained by hand"))


def _evaluate(arguments: Arguments) -> None:
    from pipeline.report.tables import evaluation_table
    from pipeline.stages import evaluate

    found = evaluate(_load(arguments), arguments.trial, arguments.split, **_where(arguments))
    if arguments.json:
        _print_json(found)
    else:
        _console().print(evaluation_table(found))


def _search(arguments: Arguments) -> None:
    from pipeline.report.progress import Progress
    from pipeline.report.study import next_steps
    from pipeline.report.tables import search_lines, trials_table
    from pipeline.stages import search
    from pipeline.stages.reading import read_trials

    study = _load(arguments)
    _say(f"Study {study.spec.name}: {len(study.ranges)} ranges are searched.")
    found = search(
        study,
        arguments.trials,
        arguments.timeout,
        arguments.workers,
        arguments.fresh,
        observers=[Progress(_console(sys.stderr))],
        **_where(arguments),
    )
    if arguments.json:
        _print_json(found)
        return
    _console().print(trials_table(read_trials(study, _store(arguments)), most=10))
    for line in search_lines(found):
        print(line)
    print(next_steps(arguments.study, _options(arguments), study, found["tracking_uri"]))


def _show(arguments: Arguments) -> None:
    from pipeline.report.tables import states_line, trial_table, trials_table
    from pipeline.stages.reading import read_trials, running_trials

    study = _load(arguments)
    trials = read_trials(study, _store(arguments))
    running = running_trials(study, _store(arguments))
    if arguments.trial is not None:
        trials = [trial for trial in trials if trial.number == arguments.trial]
        if not trials:
            raise InputError(f"{study.spec.name} has no finished trial {arguments.trial}.")
    if arguments.json:
        _print_json({"study": study.spec.name, "running": running,
                     "trials": [trial.to_json() for trial in trials]})  # fmt: skip
    elif arguments.trial is not None:
        _console().print(trial_table(trials[0]))
    else:
        _console().print(trials_table(trials))
        print(f"{len(trials)} finished ({states_line(trials)}), {len(running)} asked or running")


def _compare(arguments: Arguments) -> None:
    from pipeline.report.tables import comparison_notes, comparison_table
    from pipeline.stages import compare

    studies = [_load(arguments, path) for path in arguments.studies]
    documents = [
        compare(study, arguments.split, arguments.read_only, **_where(arguments))
        for study in studies
    ]
    if len({document["data"] for document in documents}) > 1:
        raise InputError(
            "The studies have different data (rows, labels or split), so their scores cannot be "
            "compared. Compare studies with the same data digest."
        )
    if arguments.json:
        _print_json(documents[0] if len(documents) == 1 else {"studies": documents})
        return
    for document in documents:
        _console().print(comparison_table(document))
        for note in comparison_notes(document):
            print(f"- {note}")


def _promote(arguments: Arguments) -> None:
    from pipeline.report.tables import gates_table
    from pipeline.stages import promote

    study = _load(arguments)
    decision = promote(study, arguments.trial, arguments.dry_run, **_where(arguments))
    if arguments.json:
        _print_json(decision.to_json())
        return
    _console().print(gates_table(decision.to_json()))
    alias = f"{decision.model}@{study.spec.promote.alias}"
    if arguments.dry_run:
        print(f"Every gate passes: `mtl promote` without --dry-run would move {alias}.")
    else:
        print(f"{alias} is now version {decision.version}. "
              f"Use it: mtl predict {alias} TABLE -o FILE{_options(arguments)}")  # fmt: skip


def _predict(arguments: Arguments) -> None:
    from pipeline.data.tables import read_table, write_table, writer_of
    from pipeline.stages import load_model

    writer_of(arguments.output)  # a name that cannot be written is told before the work
    table = read_table(arguments.table)
    model = load_model(arguments.model, **_where(arguments))
    write_table(model.predict(table), arguments.output)
    _say(f"Wrote {len(table)} rows to {arguments.output}.")


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


def _load(arguments: Arguments, path: Path | None = None) -> Study:
    from pipeline.study.loading import load_study, parse_setting

    data = arguments.data or os.environ.get("MTL_DATA") or None
    return load_study(path or arguments.study, dict(map(parse_setting, arguments.settings)), data)


def _store(arguments: Arguments) -> Path:
    return Path(arguments.store or os.environ.get("MTL_STORE") or "mlruns")


def _where(arguments: Arguments) -> dict[str, Any]:
    return {"store": _store(arguments), "tracking_uri": arguments.tracking_uri}


def _options(arguments: Arguments) -> str:
    """Returns the options that the next command needs to find the same things."""
    options = {"--store": arguments.store, "--tracking-uri": arguments.tracking_uri,
               "--data": getattr(arguments, "data", None)}  # fmt: skip
    return "".join(f" {name} {value}" for name, value in options.items() if value)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, found {text}")
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


def _console(file: Any = None) -> Console:
    from rich.console import Console

    console = Console(file=file)
    # Without a terminal a table must not be squeezed into 80 columns.
    return console if console.is_terminal else Console(file=file, width=160)


def _json_refusal(error: PipelineError, arguments: Arguments) -> str:
    """Prints the decision of a refused promotion; returns the message for people."""
    decision = getattr(error, "decision", None)
    if decision is None:
        return ""
    if getattr(arguments, "json", False):
        _print_json(decision.to_json())
    else:
        from pipeline.report.tables import gates_table

        _console().print(gates_table(decision.to_json()))
    return f"mtl: {error}"


def _print_json(values: Mapping[str, Any]) -> None:
    from pipeline.report.study import finite

    print(json.dumps(finite(values), indent=2, allow_nan=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> None:
        from importlib.metadata import version

        print(version("mtl-pipeline"))
        raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
