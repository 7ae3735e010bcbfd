"""A port of this machine, and the protocol of what answers on it: for every server here."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

HOST = "127.0.0.1"
"""Nobody else on the network is answered: no server here asks for a password."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
"""An application as the ASGI standard has it."""


def take_port(port: int) -> socket.socket:
    """Takes a port of this machine; clients that come from now on wait until it is served.

    Args:
        port: To take; 0 for any that is free.

    Raises:
        OSError: The port is taken, or may not be used.
    """
    # Its protocol must be named: asyncio sends at once only what it knows to be TCP, and an answer
    # would wait 40 ms for the client's acknowledgement of its head.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # at once after another ended
    try:
        found.bind((HOST, port))
        found.listen()  # from here on a second one is refused
    except OSError:
        found.close()
        raise
    return found
