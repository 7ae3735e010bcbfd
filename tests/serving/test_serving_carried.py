"""The user's own modules in the code that a model carries."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.serving.carried import own_code, renamed_imports
from pipeline.serving.closure import package_files
from pipeline.study.own_files import imports_of

MOVED = {"pipeline": "served_1", "mine": "served_1.carried.mine"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from mine import a, b as c", "from served_1.carried.mine import a, b as c"),
        ("from mine.deep import a", "from served_1.carried.mine.deep import a"),
        ("import mine", "import served_1.carried.mine as mine"),
        ("import mine as m", "import served_1.carried.mine as m"),
        ("import mine.deep as m", "import served_1.carried.mine.deep as m"),
        (
            "import mine.deep, os",
            "import served_1.carried.mine.deep; import served_1.carried.mine as mine; import os",
        ),
        ("import pipeline.errors as e", "import served_1.errors as e"),
        ("def f():\n    from pipeline import errors; return 1",
         "def f():\n    from served_1 import errors; return 1"),
        ("from mine import (\n    a,\n    b,\n)\nx = 1",
         "from served_1.carried.mine import a, b\nx = 1"),
        ("from . import mine", "from . import mine"),
        ("from minerals import mine", "from minerals import mine"),
        ("mine.pipeline.x = 'pipeline.errors'", "mine.pipeline.x = 'pipeline.errors'"),
        ("s = 'é'; import mine as m", "s = 'é'; import served_1.carried.mine as m"),
    ],
)  # fmt: skip
def test_imports_alone_are_renamed(before: str, after: str) -> None:
    assert renamed_imports(before, MOVED) == after
    ast.parse(after)


def test_relative_imports_are_followed() -> None:
    source = "from .layers import Block\nfrom .. import top\nfrom ..other import x\nimport a.b"
    assert imports_of(source, "mine.deep") == [
        "mine.deep.layers", "mine.deep.layers.Block", "mine", "mine.top",
        "mine.other", "mine.other.x", "a.b",
    ]  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's, with a module beside it, on the path."""
    for path, text in {
        "own_package/__init__.py": "",
        "own_package/trunks/__init__.py": "from .deep import Deep\n",
        "own_package/trunks/deep.py": (
            "import own_helpers\nimport own_package.sizes\nimport yaml\nfrom torch import nn\n"
            "from ..sizes import WIDTH\n"
            "class Deep(nn.Linear):\n"
            "    def __init__(self, n_features):\n"
            "        width = own_helpers.twice(own_package.sizes.WIDTH)\n"
            "        super().__init__(n_features, width)\n"
        ),
        "own_package/sizes.py": "WIDTH = 4\n",
        "own_package/unused.py": "1 / 0\n",
        "own_helpers.py": "from pipeline.study.seeds import derive_seed\n"
        "def twice(x):\n    return 2 * x\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_what_a_module_imports_goes_along_and_nothing_else(package: Path) -> None:
    code = own_code(["own_package.trunks"])
    assert list(code.files) == [
        "own_helpers", "own_package", "own_package.sizes", "own_package.trunks",
        "own_package.trunks.deep",
    ]  # fmt: skip
    assert "pipeline.study.seeds" in code.modules
    names = {line.partition("==")[0].lower() for line in code.requirements}
    assert {"torch", "pyyaml"} <= names
    assert not any("own" in name for name in names)


def test_the_copy_runs_without_the_files_it_came_from(package: Path, tmp_path: Path) -> None:
    methods = [("sharing", "own_package.trunks:Deep")]
    name, files = package_files(methods)
    copy = tmp_path / "copy"
    for path, text in files.items():
        (copy / name / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / name / path).write_text(text)
    program = (
        f"import sys; sys.path.insert(0, {str(copy)!r})\n"
        f"from {name}.study.catalogue import load\n"
        "found = load('sharing', 'own_package.trunks:Deep')\n"
        "print(found(3).weight.shape[0], found.__module__)\n"
        "assert not {'pipeline', 'own_package', 'own_helpers'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"8 {name}.carried.own_package.trunks.deep\n", done.stderr
    assert f"{name}/study/seeds.py" in {f"{name}/{path}" for path in files}
    (package / "own_package" / "sizes.py").write_text("WIDTH = 5\n")
    assert package_files(methods)[0] != name  # another version is another package
