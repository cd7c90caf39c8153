"""A request's body, read by the event loop within bounds of size and time: a slow client holds no thread. A leaf."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope

from ovauth.errors import TooLarge, TooSlow

BODY_TIMEOUT: Final = 30.0
DISCARDED: Final = 8 * 1024 * 1024
DISCARD_TIMEOUT: Final = 2.0


class ClientGone(Exception):
    """The client went away before its request was complete."""


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, of at most `most` bytes. Raises TooLarge, TooSlow after 30 seconds, ClientGone."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > most):  # a long one costs too much to be read
        if len(declared) <= 15 and int(declared) <= DISCARDED:
            await _discard(receive)
        raise TooLarge
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body, is_whole = await _collect(receive, most)
    except TimeoutError:
        raise TooSlow from None
    if is_whole and len(body) <= most:
        return bytes(body)
    if not is_whole:
        await _discard(receive)
    raise TooLarge


async def _collect(receive: Receive, most: int) -> tuple[bytearray, bool]:
    """What came until it was all, or too much; and whether it was all."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if is_whole or len(body) > most:
            return body, is_whole


async def _discard(receive: Receive) -> None:
    """Lets who is still writing come to an end, within bounds: a proxy that is cut off answers 502 instead of 413."""
    left = DISCARDED
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_TIMEOUT):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
