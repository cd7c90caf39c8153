"""A request's body, read by the event loop within bounds of size and time: a slow client holds no thread. A leaf."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import Message, Receive, Scope

from ovauth.errors import TooLarge, TooSlow

BODY_TIMEOUT: Final = 30.0
DISCARDED: Final = 8 * 1024 * 1024
DISCARD_TIMEOUT: Final = 2.0


class ClientGone(Exception):
    """The client went away before its request was complete."""


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body, of at most `most` bytes. Raises TooLarge, TooSlow after 30 seconds, ClientGone."""
    for name, declared in scope["headers"]:
        if name == b"content-length":
            if declared.isdigit() and (len(declared) > 15 or int(declared) > most):  # a long one costs too much to be read
                if len(declared) <= 15 and int(declared) <= DISCARDED:
                    await _discard(receive)
                raise TooLarge
            break
    first = _what_is_there(receive)
    if first is not None and first["type"] == "http.request" and not first.get("more_body", False):
        body: bytes = first.get("body", b"")
        if len(body) > most:
            raise TooLarge
        return body
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body, is_whole = await _collect(first, receive, most)
    except TimeoutError:
        raise TooSlow from None
    if is_whole and len(body) <= most:
        return body
    if not is_whole:
        await _discard(receive)
    raise TooLarge


def _what_is_there(receive: Receive) -> Message | None:
    """The next message, if nobody has to wait for it.

    Most bodies are there together with their headers. A timer for those costs more than the query for the token. What
    waits is given up before it took anything, and asked for again: as Starlette looks whether a client is gone.
    """
    asking = receive().__await__()
    try:
        next(asking)
    except StopIteration as there:
        message: Message = there.value
        return message
    asking.close()
    return None


async def _collect(first: Message | None, receive: Receive, most: int) -> tuple[bytes, bool]:
    """What came until it was all, or too much; and whether it was all."""
    body = bytearray()
    message = first
    while True:
        message = message or await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if is_whole or len(body) > most:
            return bytes(body), is_whole
        message = None


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
