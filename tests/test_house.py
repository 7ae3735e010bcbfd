"""The rules of the house, read from the source: who may import whom, and what nobody may use."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"

# Lowest first; rooms on one line do not import each other.
ORDER = (
    ("errors",),
    ("study",),
    ("text",),
    ("tasks",),
    ("evaluation",),
    ("data", "models"),
    ("serving",),
    ("training",),
    ("tracking",),
    ("driver",),
    ("comparison", "promotion", "damage"),
    ("report",),
    ("stages",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# A foreign library enters through one place.
HOMES = {
    "optuna": {"driver", "report"},
    "torchjd": {"training"},
    "mlflow": {"tracking", "promotion", "serving", "cli"},
    "pydantic": {"study"},
    "pydantic_core": {"study"},
    "transformers": {"text", "data", "models"},
}
# Some calls of MLflow make a client of their own: one function sets the process's tracking URI
# for them and restores it.
FLUENT = {
    "pipeline/serving/connection.py": {
        "mlflow.set_tracking_uri", "mlflow.get_tracking_uri", "mlflow.is_tracking_uri_set",
    },
}  # fmt: skip
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Source:
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.path.relative_to(PACKAGE).parts[0].removesuffix(".py")

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every module that is imported, at any depth: in functions and for type checkers too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((name.name, node.lineno) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.where}:{node.lineno} imports relatively"
                module = node.module or ""
                if module == "pipeline":
                    yield from ((f"pipeline.{name.name}", node.lineno) for name in node.names)
                else:
                    yield module, node.lineno

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call with the dotted name of what is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def sources() -> list[Source]:
    return [
        Source(path, ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


SOURCES = sources()
ROOMS = [source for source in SOURCES if source.path != PACKAGE / "__init__.py"]


def test_every_room_has_its_place_in_the_order() -> None:
    assert {source.room for source in ROOMS} == set(RANK)


def test_imports_go_one_way() -> None:
    wrong = [
        f"{source.where}:{line} imports {module}"
        for source in ROOMS
        for module, line in source.imports()
        if module.startswith("pipeline.")
        and (other := module.split(".")[1]) != source.room
        and RANK.get(other, len(RANK)) >= RANK[source.room]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", HOMES)
def test_a_foreign_library_enters_through_its_rooms_only(library: str) -> None:
    wrong = [
        f"{source.where}:{line}"
        for source in SOURCES
        for module, line in source.imports()
        if module.split(".")[0] == library and source.room not in HOMES[library]
    ]
    assert not wrong, wrong


def test_transformers_is_imported_inside_functions_only() -> None:
    wrong = [
        source.where
        for source in SOURCES
        for node in source.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) and "transformers" in ast.unparse(node)
    ]
    assert not wrong, wrong


def test_no_pickle_is_written_or_read() -> None:
    wrong = [
        f"{source.where}:{line} imports {module}"
        for source in SOURCES
        for module, line in source.imports()
        if module.split(".")[0] in PICKLES
    ]
    for source in SOURCES:
        for name, call in source.calls():
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            allow = keywords.get("allow_pickle")
            refused = isinstance(allow, ast.Constant) and allow.value is False
            last = name.rpartition(".")[2]
            if (
                name in ("torch.save", "torch.load")
                or last in ("read_pickle", "to_pickle")
                or (name in ("np.load", "np.save", "np.savez", "np.savez_compressed")
                    and not refused)
                or (allow is not None and not refused)
            ):  # fmt: skip
                wrong.append(f"{source.where}:{call.lineno} calls {name}")
    assert not wrong, "\n".join(wrong)


def test_mlflow_is_never_used_by_its_fluent_interface() -> None:
    wrong = []
    for source in SOURCES:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and node.module == "mlflow":
                names = {name.name for name in node.names} - {"MlflowClient"}
                wrong += [f"{source.where}:{node.lineno} imports {name}" for name in names]
        for name, call in source.calls():
            parts = name.split(".")
            fluent = len(parts) == 2 or parts[-1] in ("log_model", "autolog")
            if parts[0] == "mlflow" and fluent and name not in FLUENT.get(source.where, ()):
                wrong.append(f"{source.where}:{call.lineno} calls {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert not [source.where for source in SOURCES if vague & {*source.path.with_suffix("").parts}]


def test_every_module_says_what_it_is() -> None:
    assert not [source.where for source in SOURCES if not ast.get_docstring(source.tree)]


def test_files_stay_short() -> None:
    lengths = {s.where: len(s.path.read_text(encoding="utf-8").splitlines()) for s in SOURCES}
    assert not {where: length for where, length in lengths.items() if length > 400}


def test_a_store_gets_the_rules_that_stand_at_the_root() -> None:
    packaged = PACKAGE / "tracking" / "mlruns.gitignore"
    assert (ROOT / "mlruns.gitignore").read_bytes() == packaged.read_bytes()
    assert "*\n!.gitignore" in packaged.read_text(encoding="utf-8")


def test_constraints_pin_every_requirement_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if pin.count("==") != 1 or "+" in pin] == []
    assert "torch==2.13.0" in pins  # an open range takes gigabytes of CUDA packages


def declared(*extras: str) -> set[str]:
    """Names of the distributions that an installation with these extras asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    return {plain(re.split(r"[^\w.-]", line)[0]) for lines in lists for line in lines}


def plain(distribution: str) -> str:
    """The name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_every_library_that_is_imported_is_asked_for() -> None:
    allowed, owners = declared("text", "balance", "ray"), packages_distributions()
    wrong = [
        f"{source.where}:{line} imports {module}"
        for source in SOURCES
        for module, line in source.imports()
        if (root := module.split(".")[0]) not in {*sys.stdlib_module_names, "pipeline"}
        and not {plain(name) for name in owners.get(root, [root])} & allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_commands_load_without_the_extras() -> None:
    optional = declared("text", "balance", "ray", "dev") - declared()
    blocked = sorted(
        root
        for root, owners in packages_distributions().items()
        if {plain(name) for name in owners} & optional
    )
    program = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))  # None: it cannot be imported
import pipeline.stages, pipeline.cli.commands
"""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(blocked)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert {"transformers", "torchjd"} <= set(blocked)
    assert done.returncode == 0, done.stderr


def modules_after(*arguments: str) -> set[str]:
    """Runs the command `mtl` in a process of its own and returns the modules it imported."""
    program = """
import json, sys
from pipeline.cli import main
sys.argv = ["mtl", *sys.argv[1:]]
try:
    code = main()
except SystemExit as end:
    code = end.code
print("MODULES" + json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "MODULES" in done.stdout, done.stderr
    code, modules = json.loads(done.stdout.rpartition("MODULES")[2])
    assert code in (0, None), done.stderr
    return set(modules)


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "mlflow", "optuna", "pandas", "numpy", "sklearn", "pydantic"}
    assert not heavy & modules_after("--help")


def test_check_imports_neither_torch_nor_mlflow(tmp_path: Path) -> None:
    rows = [f"{index % 7},{index % 5},{index % 2}" for index in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    (tmp_path / "study.yaml").write_text(
        "name: small\n"
        "sources: {table: {path: table.csv}}\n"
        "tasks: {y: {kind: binary, target: y}}\n"
        "split: {train: 0.6, valid: 0.2, test: 0.2}\n"
    )
    modules = modules_after("check", str(tmp_path / "study.yaml"))
    assert not {"torch", "mlflow", "optuna"} & modules
