"""What each command does: calls a stage and prints what it found.

Imports stand inside the commands: each loads what it needs and no more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.cli.arguments import Arguments, need_launched
from pipeline.cli.arguments import load_study as _load
from pipeline.cli.arguments import store as _store
from pipeline.cli.arguments import store_options as _store_options
from pipeline.cli.arguments import where as _where
from pipeline.cli.output import console, print_json, say
from pipeline.errors import InputError


def init(arguments: Arguments) -> None:
    """Writes a study file from a look at a table."""
    from pipeline.data.draft import draft_study

    if arguments.output.exists():
        raise InputError(f"{arguments.output} exists already. Choose another file with -o.")
    _need_folder(arguments.output)
    folder = arguments.output.parent
    _need_table(arguments.table)
    text = draft_study(arguments.table, arguments.target, arguments.name, folder)
    arguments.output.write_text(text, encoding="utf-8")
    say(f"Wrote {arguments.output}. Next: mtl check {arguments.output}")


def check(arguments: Arguments) -> None:
    """Validates a study file and its data."""
    from pipeline.study.loading import schema

    if arguments.schema:
        print(json.dumps(schema(), indent=2))
        return
    if arguments.keys:
        from pipeline.study.keys import key_tables

        print(key_tables())
        return
    if arguments.study is None:
        raise InputError("`mtl check` needs a study file, --keys or --schema.")
    from pipeline.data.check import check_data
    from pipeline.errors import StudyError
    from pipeline.report.study import sampled_trials, study_lines

    study = _load(arguments)
    faults, notes = check_data(study.spec, study.folder, study.data_dir, arguments.data_rows)
    if study.spec.search.sampler != "tpe":  # which needs nothing; importing Optuna takes 0.4 s
        from pipeline.driver.journal import sampler_faults

        objective = study.spec.search.objective
        n_objectives = 1 if isinstance(objective, str) else len(objective)
        faults += sampler_faults(study.spec.search.sampler, study.ranges, n_objectives)
    if faults:
        raise StudyError(faults, str(arguments.study))
    if arguments.json:
        ranges = {path: str(found) for path, found in study.ranges.items()}
        print_json({"study": study.spec.name, "tasks": list(study.spec.tasks), "ranges": ranges,
                    "notes": [*study.notes, *notes],
                    "sampled": sampled_trials(study, 3)})  # fmt: skip
        return
    for line in study_lines(study, notes):
        print(line)


def prepare(arguments: Arguments) -> None:
    """Stage 1."""
    from pipeline import stages
    from pipeline.report.study import prepared_json, prepared_lines

    prepared = stages.prepare(_load(arguments), _store(arguments))
    if arguments.json:
        print_json(prepared_json(prepared))
        return
    for line in prepared_lines(prepared):
        print(line)


def train(arguments: Arguments) -> int:
    """Stage 2, by hand; 1 where the member did not complete."""
    from pipeline import stages
    from pipeline.report.tables import trial_table

    trained = stages.train(
        _load(arguments), arguments.trial, device=arguments.device, **_where(arguments)
    )
    if arguments.json:
        print_json(trained.record.to_json())
    else:
        console().print(trial_table(trained.record, "Trained by hand"))
    return 0 if trained.record.state == "complete" else 1


def evaluate(arguments: Arguments) -> None:
    """Stage 3."""
    from pipeline import stages
    from pipeline.report.tables import evaluation_table

    found = stages.evaluate(
        _load(arguments),
        arguments.trial,
        arguments.split,
        device=arguments.device,
        **_where(arguments),
    )
    if arguments.json:
        print_json(found)
    else:
        console().print(evaluation_table(found))


def search(arguments: Arguments) -> None:
    """Launches or resumes a search."""
    from pipeline.driver.fork_server import start_ahead

    study = _load(arguments)
    start_ahead(arguments.workers, arguments.device)  # its imports run beside ours
    from pipeline import stages
    from pipeline.driver.study_folder import StudyFolder
    from pipeline.report.pareto import front_lines
    from pipeline.report.progress import Progress
    from pipeline.report.study import next_commands, next_lines
    from pipeline.report.tables import search_lines, trials_table

    found = stages.search(
        study,
        arguments.trials,
        arguments.timeout,
        arguments.workers,
        arguments.fresh,
        baselines=arguments.baselines,
        observers=[Progress(console(sys.stderr))],
        device=arguments.device,
        **_where(arguments),
    )
    if arguments.json:
        print_json(found)
        return
    trials = StudyFolder(_store(arguments) / "studies", study.spec.name).trials()
    console().print(trials_table(trials, most=10))
    for line in front_lines(trials):
        print(line)
    for line in search_lines(found):
        print(line)
    commands = next_commands(study, _store_options(arguments), len(trials))
    for line in next_lines(commands):
        print(line)


def show(arguments: Arguments) -> None:
    """Shows the trials."""
    from pipeline.driver.choice import choose
    from pipeline.driver.study_folder import StudyFolder
    from pipeline.report.pareto import front_lines
    from pipeline.report.tables import choice_line, states_line, trial_table, trials_table

    study = _load(arguments)
    folder = StudyFolder(_store(arguments) / "studies", study.spec.name)
    trials, running = folder.trials(), folder.unfinished()
    need_launched(folder, _store(arguments))
    if arguments.trial is not None:
        trials = [trial for trial in trials if trial.number == arguments.trial]
        if not trials:
            raise InputError(f"{study.spec.name} has no finished trial {arguments.trial}.")
    if arguments.json:
        print_json({"study": study.spec.name, "running": running,
                     "trials": [trial.to_json() for trial in trials]})  # fmt: skip
    elif arguments.trial is not None:
        console().print(trial_table(trials[0]))
    else:
        console().print(trials_table(trials))
        for line in front_lines(trials):
            print(line)
        print(f"{len(trials)} finished ({states_line(trials)}), {len(running)} asked or running")
        choice = choose(folder, study.spec.search.finalists)
        if choice is not None:
            print(choice_line(choice))


def compare(arguments: Arguments) -> None:
    """Shows the comparison, training rows that are missing."""
    from pipeline import stages
    from pipeline.report.comparison import comparison_notes, comparison_tables
    from pipeline.report.html import need_same_data

    studies = [_load(arguments, path) for path in arguments.studies]
    store = _store(arguments)
    if arguments.html is not None:
        _need_folder(arguments.html)
    if len(studies) > 1:
        digests = [stages.prepare(study, store).data_digest for study in studies]
        names = [study.spec.name for study in studies]
        need_same_data(list(zip(names, digests, strict=True)))
    documents = [
        stages.compare(
            study,
            arguments.split,
            arguments.read_only,
            n_workers=arguments.workers,
            device=arguments.device,
            **_where(arguments),
        )
        for study in studies
    ]
    if arguments.html is not None:
        text = stages.report_studies(studies, documents, **_where(arguments))
        arguments.html.write_text(text, encoding="utf-8")
        say(f"Wrote {arguments.html}.")
    if arguments.json:
        print_json(documents[0] if len(documents) == 1 else {"studies": documents})
        return
    for document in documents:
        for table in comparison_tables(document):
            console().print(table)
        for note in comparison_notes(document):
            print(f"- {note}")


def group(arguments: Arguments) -> None:
    """Measures all pairs of tasks and recommends groups."""
    from pipeline import stages
    from pipeline.report.groups import group_notes, groups_table, transfer_table

    found = stages.group(
        _load(arguments),
        arguments.budget,
        arguments.workers,
        device=arguments.device,
        **_where(arguments),
    )
    if arguments.json:
        print_json(found)
        return
    console().print(transfer_table(found))
    console().print(groups_table(found))
    for note in group_notes(found):
        print(f"- {note}")


def ui(arguments: Arguments) -> None:
    """Serves MLflow's UI on the study's store."""
    from pipeline.cli import ui as command

    study = _load(arguments)
    command.ui(
        study, _store(arguments), arguments.tracking_uri, arguments.port, arguments.browser,
        arguments.json,
    )  # fmt: skip


def promote(arguments: Arguments) -> None:
    """Decides a promotion."""
    from pipeline import stages
    from pipeline.report.tables import gates_table

    study = _load(arguments)
    decision = stages.promote(study, arguments.trial, arguments.dry_run, **_where(arguments))
    if arguments.json:
        print_json(decision.to_json())
        return
    console().print(gates_table(decision.to_json()))
    alias = f"{decision.model}@{study.spec.promote.alias}"
    if decision.details["is_champion"]:
        print(f"{alias} is version {decision.previous}, which is this model already.")
    elif arguments.dry_run:
        print(f"Every gate passes: `mtl promote` without --dry-run would move {alias}.")
    else:
        print(f"{alias} is now version {decision.version}. "
              f"Use it: mtl predict {alias} TABLE -o FILE{_store_options(arguments)}")  # fmt: skip


def _need_table(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no table {path}. Name a CSV, TSV, JSON Lines or Parquet file.")


def _need_folder(file: Path) -> None:
    if not file.parent.is_dir():
        raise InputError(f"The folder of {file} does not exist. Make it first.")
