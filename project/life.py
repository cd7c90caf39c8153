"""What a serving process does beside answering: from the startup of its application to its shutdown it tells, counts, and
takes its turn in keeping house."""

import gc
import logging
import os
import random
import socket
import threading
from importlib.metadata import version
from typing import Final

import django
from django.conf import settings
from django.db import connection
from starlette.types import Message, Receive

from ovauth import logs, metrics
from ovauth.conf import VERSION, shared_metrics
from ovauth.flows import housekeeping

log = logging.getLogger("ovauth.serve")

LOOKS: Final = 30
"""Seconds between two looks whether the house is to be kept."""


def alive(receive: Receive) -> Receive:
    """The lifespan of the application, with ours around it."""
    stop = threading.Event()

    async def heard() -> Message:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _begin(stop)
        elif message["type"] == "lifespan.shutdown":
            stop.set()
        return message

    return heard


def _begin(stop: threading.Event) -> None:
    logs.serve(settings.OVAUTH.log)
    build = {"version": VERSION, "django": django.get_version(), "mcp": version("mcp"), "database": connection.vendor}
    metrics.begin(shared=shared_metrics(), build=build)
    threading.Thread(target=keep_house, args=(stop,), name="housekeeping", daemon=True).start()
    # What is there when the serving begins stays: Django, the mcp package and ours. A full collection looked through all of
    # it, and the event loop stood still for 80 ms meanwhile. From here on only what is new is looked at.
    gc.collect()
    gc.freeze()


def keep_house(stop: threading.Event, looks: float = LOOKS, every: float = housekeeping.EVERY) -> None:
    """Looks whether the house is to be kept, until `stop`. Whatever fails, it goes on: people are served."""
    holder = f"{socket.gethostname()[:40]}-{os.getpid()}-{threading.get_native_id()}"
    while not stop.wait(looks * random.uniform(0.8, 1.2)):  # noqa: S311 so that not all look at once
        try:
            housekeeping.keep(holder=holder, every=every)
        except Exception as error:
            log.warning("keeping house failed, and is tried again: %s: %s", type(error).__name__, error)
        finally:
            connection.close()
