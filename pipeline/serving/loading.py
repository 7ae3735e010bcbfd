"""A recorded model by its name, its version or its run, without touching global MLflow state."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import pandas as pd

from pipeline.errors import DataError, InputError, StoreError
from pipeline.serving.connection import connect, local_path, model_library, store_errors
from pipeline.serving.predictor import Predictor

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to answer.

    Attributes:
        uri: What was asked for.
        model_id: MLflow's id of the model found.
        version: Version in the registry; empty for one found by its run.
        run_id: The run that trained it.
        pyfunc: MLflow's loaded model.
    """

    uri: str
    model_id: str
    version: str
    run_id: str
    pyfunc: Any

    @property
    def columns(self) -> list[str]:
        """Raw columns that a frame must have; others are ignored."""
        names: list[str] = self.pyfunc.metadata.get_input_schema().input_names()
        return names

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answers for raw rows: columns `TASK` and `TASK_proba_CLASS`, index kept.

        Raises:
            DataError: A column is missing or cannot be read; it names the column.
        """
        wanted = self.columns
        known = frame.columns.intersection(wanted)
        try:
            # MLflow would warn of each column that is no input. Where one is absent, the model is
            # asked itself: it sees what the others are called.
            whole = len(known) == len(wanted)
            ask = self.pyfunc if whole else self.pyfunc.unwrap_python_model().predictor
            answer: pd.DataFrame = ask.predict(frame[known] if whole else frame)
        except Exception as error:
            # The model runs its own copy of the code, so its errors are known by name only.
            names = {kind.__name__ for kind in type(error).__mro__}
            if not names & {"DataError", "MlflowException"}:
                raise
            raise DataError(str(error)) from error
        return answer


def load_model(uri: str, tracking_uri: str) -> LoadedModel:
    """Loads a model with the code that it carries.

    Args:
        uri: `NAME@ALIAS`, `NAME/VERSION`, or the id of a run.
        tracking_uri: The store's database or server.

    Raises:
        InputError: There is no such model, alias, version or run.
        StoreError: The store or the model's files cannot be read.
    """
    client = connect(tracking_uri)
    model_id, version = find_model(client, uri)
    with store_errors(f"Loading the model {uri}"):
        model = client.get_logged_model(model_id)
        with _local_copy(model.artifact_location, tracking_uri) as folder:
            loaded = model_library().load_model(str(folder))
    return LoadedModel(uri, model_id, version, model.source_run_id or "", loaded)


def load_predictor(model_id: str, tracking_uri: str) -> Predictor:
    """Loads a recorded model with this package's code, to see what it gives for encoded rows.

    Raises:
        StoreError: The store or the model's files cannot be read.
    """
    with model_folder(connect(tracking_uri), model_id) as folder:
        try:
            return Predictor.load(folder / "artifacts" / "predictor")
        except (ValueError, KeyError, BadZipFile) as error:
            raise StoreError(f"The files of the model {model_id} are damaged: {error}.") from error


@contextmanager
def model_folder(client: MlflowClient, model_id: str) -> Iterator[Path]:
    """Gives a recorded model's folder for the time of the `with` block.

    Raises:
        StoreError: The store or the model's files cannot be read.
    """
    with store_errors(f"Loading the model {model_id}"):
        location = client.get_logged_model(model_id).artifact_location
        with _local_copy(location, client.tracking_uri) as folder:
            if not (folder / "MLmodel").exists():
                raise StoreError(f"The files of the model {model_id} are gone from {location}.")
            yield folder


def find_model(client: MlflowClient, uri: str) -> tuple[str, str]:
    """Returns the model's id and its registry version, empty for a model found by its run.

    Raises:
        InputError: There is no such model.
    """
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if at:
        found = _version(client, name, lambda: client.get_model_version_by_alias(name, alias))
        return model_id_of(found), str(found.version)
    name, slash, number = name.partition("/")
    if slash:
        found = _version(client, name, lambda: client.get_model_version(name, number))
        return model_id_of(found), str(found.version)
    return _model_of_run(client, name), ""


def _version(client: MlflowClient, name: str, get: Any) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        found: ModelVersion = get()
    except MlflowException as error:
        models = client.search_registered_models(max_results=100)
        known = [f"{model.name}@{alias}" for model in models for alias in model.aliases]
        raise InputError(
            f"The registry has no such model: {str(error).splitlines()[0].rstrip('.')}. "
            f"Known aliases: {', '.join(sorted(known)) or 'none'}."
        ) from error
    return found


def model_id_of(version: ModelVersion) -> str:
    """Returns MLflow's id of the model that a version is.

    Raises:
        InputError: Another program registered it.
    """
    # On SQLite the version's own `model_id` comes back empty; its source names the model.
    model_id = str(version.source or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        raise InputError(
            f"Version {version.version} of {version.name} was not registered by this package: "
            f"its source is {version.source}."
        )
    return model_id


def _model_of_run(client: MlflowClient, run_id: str) -> str:
    if not _RUN_ID.fullmatch(run_id):
        raise InputError(
            "A model is named `NAME@ALIAS`, `NAME/VERSION` or by the 32 digits of a run's id. "
            f"Found {run_id}."
        )
    with store_errors(f"Looking for the run {run_id}"):
        experiment_id = client.get_run(run_id).info.experiment_id
        # Not the run's outputs: they still list models that were deleted.
        models = client.search_logged_models(
            [experiment_id], filter_string=f"source_run_id = '{run_id}'"
        )
    ready = [model for model in models if model.status == "READY"]
    if not ready:
        raise InputError(
            f"The run {run_id} has no model: only the best trials of a study keep theirs."
        )
    return str(max(ready, key=lambda model: model.creation_timestamp).model_id)


@contextmanager
def _local_copy(uri: str, tracking_uri: str) -> Iterator[Path]:
    """Gives the folder of a model's files: the store's own, or a copy that lasts while loading."""
    import mlflow.artifacts

    folder = local_path(uri)
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="model-") as made:
        # Not `models:/ID`, which is looked up in the process's own store.
        yield Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=made, tracking_uri=tracking_uri
            )
        )
