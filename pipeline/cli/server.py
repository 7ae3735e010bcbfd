"""MLflow's UI on a store, served by this very process.

MLflow's own command starts ten processes, and one that is killed leaves some of them behind. Here
the server runs in the process of the command: it ends with it, however that happens.
"""

from __future__ import annotations

import hashlib
import os
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.serving.listening import HOST, App, Message, Receive, Send, take_port

if TYPE_CHECKING:
    from pipeline.tracking.store import Store

_FIRST_PORT, _PORTS = 20_000, 10_000

# What a browser remembers of this UI for as long as nobody has chosen otherwise: menus for training
# and not for chat, and no assistant that covers a quarter of the page.
_WELCOME = b"""<head><script>
for (const [key, value] of [["mlflow.workflowType_v1", '"machine_learning"'],
    ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"]])
  if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
</script>"""


def listen(port: int | None, folder: Path) -> socket.socket:
    """Returns a socket that is bound, so that nobody else takes the port until the server is up.

    Args:
        port: To listen on. By default a store has a port of its own, since a browser remembers
            columns and charts by host and port; where that is taken, any free one.
        folder: The store.

    Raises:
        InputError: The port is taken.
    """
    if port is not None:
        try:
            return take_port(port)
        except OSError as error:
            raise InputError(
                f"`--port` must be free on {HOST}. Found {port}: {error.strerror or error}. "
                "Choose another, or leave the option out."
            ) from error
    digest = hashlib.sha256(str(folder.absolute()).encode()).digest()
    try:
        return take_port(_FIRST_PORT + int.from_bytes(digest[:4]) % _PORTS)
    except OSError:
        return take_port(0)


def serve(store: Store, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Runs the server until Ctrl-C; `ready` is called once it answers."""
    from mlflow.server import constants

    # As `mlflow server` tells its workers. What needs further processes, such as jobs, is off.
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store.tracking_uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: store.tracking_uri,
        constants.ARTIFACT_ROOT_ENV_VAR: store.artifacts.as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    import uvicorn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's server warns of its own imports
        from mlflow.server.fastapi_app import app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(_welcoming(app), log_level="warning", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # raised again by the server once it has ended
        Server(config).run(sockets=[listening])


def _welcoming(app: App) -> App:
    """Returns the application with `_WELCOME` in its one page."""

    async def welcoming(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await app(scope, receive, send)
            return
        started: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                page = b"".join(parts).replace(b"<head>", _WELCOME, 1)
                kept = [(name, value) for name, value in started["headers"]
                        if name.lower() not in (b"content-length", b"etag")]  # fmt: skip
                length = (b"content-length", str(len(page)).encode())
                await send({**started, "headers": [*kept, length]})
                await send({"type": "http.response.body", "body": page})

        # A page that the browser has already must not be answered by its old text.
        fresh = [pair for pair in scope["headers"] if not pair[0].lower().startswith(b"if-")]
        await app({**scope, "headers": fresh}, receive, collect)

    return welcoming
