"""A request's body, read by the event loop within bounds of size and time: a slow client holds no thread. A leaf."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope

from ovauth.errors import TooLarge, TooSlow

BODY_TIMEOUT: Final = 30.0


class ClientGone(Exception):
    """The client went away before its request was complete."""


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, of at most `most` bytes. Raises TooLarge as soon as it is, TooSlow after 30 seconds, ClientGone."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > most):  # a long one costs too much to be read
        raise TooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > most:
                    raise TooLarge
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise TooSlow from None
