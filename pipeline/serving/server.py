"""A model behind MLflow's scoring server, in this process and on this machine only.

MLflow's own command starts a second interpreter for the server, which loads everything again.
Here its application gets a model that is loaded already; what the client sent wrong is answered
with 400 and the column's name, what broke in the model with 500.
"""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import DataError, InputError, StoreError
from pipeline.serving.connection import model_library
from pipeline.serving.listening import HOST, App, Message, Receive, Send, take_port
from pipeline.serving.loading import LoadedModel

_GRACE_SECONDS = 5  # for requests under way when it is stopped
_IDLE_SECONDS = 75  # in which a client may send its next request on the same connection
_EXAMPLE_TEXT = "A text."


def make_app(model: LoadedModel) -> App:
    """Returns MLflow's application for a model: /invocations, /ping, /health, /version."""
    model_library()  # it settles how MLflow is imported
    from mlflow.pyfunc import scoring_server

    answering: Any = _Answering(model)
    return _Tidy(scoring_server.init(answering))


def listen(port: int | None) -> socket.socket:
    """Takes a port of this machine; clients that come from now on wait until it is served.

    Args:
        port: To take; a free one where it is None.

    Raises:
        InputError: The port is taken, or may not be used.
    """
    try:
        return take_port(port or 0)
    except OSError as error:
        raise InputError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}. End the program that has it, "
            "give another `--port`, or give none to get a free one."
        ) from error


def serve(app: App, taken: socket.socket) -> None:
    """Answers until Ctrl-C or SIGTERM; what is under way then is finished."""
    import torch
    import uvicorn

    # Requests run side by side: more threads for each of them would only get in each other's way.
    torch.set_num_threads(1)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off",
        timeout_graceful_shutdown=_GRACE_SECONDS, timeout_keep_alive=_IDLE_SECONDS,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[taken])


def example_request(model: LoadedModel) -> dict[str, Any]:
    """Returns a request that the model answers: medians, first categories, a short text.

    Raises:
        StoreError: The model does not answer it: it is damaged.
    """
    row: dict[str, Any] = dict.fromkeys(model.columns, _EXAMPLE_TEXT)
    encoder = model.pyfunc.unwrap_python_model().predictor.encoder
    known: dict[str, Any] = {column.name: column.median for column in encoder.numeric}
    known |= {column.name: next(iter(column.categories), None) for column in encoder.categorical}
    # What a summary's sentences are described by is computed, and no column of a request.
    row |= {name: value for name, value in known.items() if name in row}
    try:
        model.predict(pd.DataFrame([row]))
    except Exception as error:
        raise StoreError(
            f"The model {model.uri} does not answer an example row: {error}"
        ) from error
    return {"dataframe_split": {"columns": [*row], "data": [[*row.values()]]}}


class _Answering:
    """The model as MLflow's server calls it."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        # Without a schema: the model reads any type, and MLflow could parse no CSV by it.
        self.metadata = SimpleNamespace(get_input_schema=lambda: None)

    def predict(self, data: Any) -> pd.DataFrame:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR

        try:
            return self._model.predict(_frame(data))
        except DataError as error:
            raise MlflowException(str(error), BAD_REQUEST) from error
        except Exception as error:
            traceback.print_exc()
            text = f"The model failed with {type(error).__name__}; the server's log tells where."
            raise MlflowException(text, INTERNAL_ERROR) from error


def _frame(data: Any) -> pd.DataFrame:
    """Returns the rows of a request, whichever of MLflow's formats they came in."""
    if isinstance(data, pd.DataFrame):
        return data
    if not isinstance(data, Mapping):
        raise DataError(
            "Rows need the names of their columns: send `dataframe_split` with `columns` and "
            "`data`, `dataframe_records` or `instances` with an object a row, or `inputs` with a "
            "list a column."
        )
    try:
        return pd.DataFrame({name: _list(values) for name, values in data.items()})
    except ValueError as error:
        raise DataError(f"The columns of the request form no table: {error}.") from error


def _list(values: Any) -> list[Any]:
    """Returns the values of a column, which MLflow wraps in arrays; one value is one row."""
    listed = values if isinstance(values, list) else np.atleast_1d(np.asarray(values)).tolist()
    return [value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
            for value in listed]  # fmt: skip


class _Tidy:
    """Leaves out of MLflow's errors what says nothing to a client: a trace, a print of the rows.

    Args:
        app: MLflow's application.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not any(name == b"content-type" for name, _ in scope["headers"]):
            scope["headers"] = [*scope["headers"], (b"content-type", b"application/json")]
        start: Message = {}
        body = b""

        async def tidied(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif not start:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    text = _tidy_error(body)
                    others = [
                        pair for pair in start["headers"] if pair[0].lower() != b"content-length"
                    ]
                    length = (b"content-length", str(len(text)).encode())
                    await send({**start, "headers": [*others, length]})
                    await send({"type": "http.response.body", "body": text})

        await self._app(scope, receive, tidied)


def _tidy_error(body: bytes) -> bytes:
    """Returns an error of MLflow without a trace, a print of what was sent, and old advice."""
    try:
        found = json.loads(body)
        text = str(found["message"])
    except (ValueError, KeyError, TypeError):
        return body  # not one of MLflow's
    _, _, own = text.partition("'. \nError: ")
    text = (own or text).partition("\nInput: ")[0].partition(" IMPORTANT: ")[0]
    found.pop("stack_trace", None)
    return json.dumps({**found, "message": text}).encode()
