"""A model as a folder that MLflow loads without this package: code, weights, signature."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.serving.closure import Methods, own_code_of, package_files
from pipeline.serving.connection import model_library
from pipeline.serving.predictor import Predictor

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

_REQUIRED = ("mlflow", "numpy", "pandas", "torch")
_REQUIRED_FOR = {
    "tfidf": ("scipy",),
    "bag": (),
    "transformer": ("tokenizers",),
    "pretrained": ("scipy", "transformers", "tokenizers"),
}

_ENTRY_FILE = "served.py"
_ENTRY = '''"""What MLflow runs to answer; the code beside it is all that it needs."""

from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Served(PythonModel):
    """Raw columns in, a column per task and class probability out."""

    def load_context(self, context):
        from PACKAGE.serving.predictor import Predictor

        self.predictor = Predictor.load(Path(context.artifacts["predictor"]))

    def predict(
        self, context, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        return self.predictor.predict(model_input)


set_model(Served())
'''


@contextmanager
def bundle(
    predictor: Predictor, model: Model | None = None, example: pd.DataFrame | None = None
) -> Iterator[Path]:
    """Writes a model folder that lasts as long as the `with` block.

    It holds served.py, the code that it needs (see `closure`), the weights and MLflow's own
    files; no pickle, and no path of this machine.

    Args:
        predictor: The model.
        model: MLflow's record of it, such as one with the id of a logged model; changed.
        example: A few raw rows to keep as the input example.
    """
    pyfunc = model_library()
    from mlflow.models import Model

    model = model or Model()
    with tempfile.TemporaryDirectory(prefix="model-") as made:
        # The real path: MLflow compares it with resolved ones, and /tmp may be a link.
        parts, saved = Path(made).resolve() / "parts", Path(made).resolve() / "model"
        predictor.save(parts / "predictor")
        package = _write_code(predictor, parts)
        with warnings.catch_warnings():
            # Its requirements are given and its example is optional: two hints that say nothing.
            warnings.filterwarnings("ignore", message=".*An input example was not provided")
            warnings.filterwarnings("ignore", message=".*Operation with range is deprecated")
            pyfunc.save_model(
                saved,
                mlflow_model=model,
                python_model=str(parts / _ENTRY_FILE),
                artifacts={"predictor": str(parts / "predictor")},
                code_paths=[str(package)],
                signature=_signature(predictor),
                input_example=example[list(predictor.columns)] if example is not None else None,
                pip_requirements=requirements(_methods(predictor)),
            )
        _forget_this_machine(model, saved)
        yield saved


def requirements(methods: Methods = ()) -> list[str]:
    """Returns what a process that loads a model needs, as installed here.

    Without the local part of a version, such as torch's `+cpu`, which no index serves.

    Args:
        methods: What the model uses: encoders of texts need more, and so may the user's own code.
    """
    more = [_REQUIRED_FOR[name] for role, name in methods if role == "encoder"]
    names = (*_REQUIRED, *(package for packages in more for package in packages))
    always = [f"{name}=={version(name).partition('+')[0]}" for name in names]
    return list(dict.fromkeys([*always, *own_code_of(methods).requirements]))


def _methods(predictor: Predictor) -> Methods:
    methods = {("kind", task.kind) for task in predictor.tasks}
    methods.add(("sharing", predictor.architecture.sharing))
    if predictor.encoder.text is not None:
        methods |= {("encoder", part.name) for part in predictor.encoder.text.parts}
    return sorted(methods)


def _write_code(predictor: Predictor, folder: Path) -> Path:
    name, texts = package_files(_methods(predictor))
    for path, text in texts.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / _ENTRY_FILE).write_text(_ENTRY.replace("PACKAGE", name), encoding="utf-8")
    return folder / name


def _signature(predictor: Predictor) -> ModelSignature:
    """Names the columns without fixing their types.

    Any other type refuses ordinary frames: `double` refuses the int64 columns of `pd.read_csv`,
    `long` those with a missing value. The predictor reads all of them and names what it cannot.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in predictor.columns})
    answer = predictor.predict(empty)
    return ModelSignature(
        inputs=Schema([ColSpec(anything, name, required=False) for name in predictor.columns]),
        outputs=Schema(
            [
                ColSpec("double" if answer[name].dtype.kind == "f" else "string", name)
                for name in answer.columns
            ]
        ),
    )


def _forget_this_machine(model: Model, saved: Path) -> None:
    """Removes the paths of this machine and compiled files."""
    flavour = model.flavors["python_function"]
    flavour["model_code_path"] = _ENTRY_FILE
    for artifact in flavour["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(saved / "MLmodel")
    for compiled in list(saved.rglob("__pycache__")):
        shutil.rmtree(compiled)
