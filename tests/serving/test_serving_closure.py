import ast
from pathlib import Path

import pytest

from pipeline.serving.closure import imported, needed_modules, package_files, rename
from pipeline.study import catalogue

METHODS = [
    # What a pretrained decoder writes needs transformers, as pretrained encoders do.
    *(("kind", name) for name in catalogue.names("kind") if not name.endswith("_pretrained")),
    *(("sharing", name) for name in catalogue.names("sharing")),
]
ALLOWED = {"numpy", "pandas", "torch"}


def top_level_imports(source: str) -> set[str]:
    """Every import of a source but those under `if TYPE_CHECKING:`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import cannot be followed"
            found.add(str(node.module).partition(".")[0])
    return found


def test_what_travels_imports_numpy_pandas_and_torch_only() -> None:
    import sys

    for name, file in needed_modules(METHODS).items():
        foreign = top_level_imports(file.read_text()) - set(sys.stdlib_module_names) - {"pipeline"}
        assert foreign <= ALLOWED, name


def test_the_closure_has_the_kinds_and_the_trunk_that_the_catalogue_names() -> None:
    names = needed_modules([("kind", "binary"), ("sharing", "shared_bottom")])
    assert {"pipeline.tasks.binary", "pipeline.models.shared_bottom"} <= set(names)
    assert "pipeline.tasks.multilabel" not in names
    assert not any(name.startswith(("pipeline.training", "pipeline.tracking")) for name in names)


def test_what_only_the_type_checker_imports_stays_behind() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "import pipeline.errors\n"
        "if TYPE_CHECKING:\n"
        "    from pipeline.study.spec import TaskSpec\n"
        "else:\n"
        "    from pipeline.tasks import labels\n"
        "def later():\n"
        "    from pipeline.study import catalogue, absent\n"
    )
    assert imported(source) == ["pipeline.errors", "pipeline.tasks.labels",
                                "pipeline.study.catalogue"]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from pipeline.errors import Fault", "from served_1.errors import Fault"),
        ("import pipeline.errors", "import served_1.errors"),
        ("from pipeline import errors", "from served_1 import errors"),
        ('"pipeline.tasks.binary:Binary"', '"served_1.tasks.binary:Binary"'),
        ("# The pipeline. It ends", "# The pipeline. It ends"),
        ("my.pipeline.x", "my.pipeline.x"),
        ("sklearn_pipeline.x", "sklearn_pipeline.x"),
    ],
)
def test_renaming(before: str, after: str) -> None:
    assert rename(before, "served_1") == after


def test_the_copy_names_this_package_nowhere() -> None:
    name, files = package_files(METHODS)
    for path, text in files.items():
        compile(text, path, "exec")
        names = top_level_imports(text)
        assert "pipeline" not in names, path
        assert Path(path).name != "__init__.py" or text == ""
    folders = {parent.as_posix() for path in files for parent in Path(path).parents}
    assert {f"{folder}/__init__.py".removeprefix("./") for folder in folders} <= set(files)
    assert name == package_files(METHODS)[0]
    assert name != package_files(METHODS[:1])[0]


def test_a_learned_encoder_travels_with_its_network() -> None:
    names = needed_modules([("encoder", "bag")])
    assert {"pipeline.data.word_tokens", "pipeline.models.bag"} <= set(names)
    assert "pipeline.models.bag" not in needed_modules([("encoder", "tfidf")])
