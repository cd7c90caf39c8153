"""The few long-lived threads on which everything that asks the database runs, each with its own kept connection.

A leaf: Django's requests (`ovauth.web`) and the bearer check at `/mcp` (`ovauth.resource`) share it.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

THREADS: Final = 8

threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ovauth")
