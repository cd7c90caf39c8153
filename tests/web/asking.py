"""The whole serving process, asked byte for byte: public origin, CORS, gate and Django as `project.asgi` composes them.

The application runs in an event loop of its own thread. What it hands to its worker threads is run by the thread of the
test instead, so that both see the same transaction; nothing else is replaced.
"""

import asyncio
import json
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from anyio.from_thread import BlockingPortal
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from starlette.types import ASGIApp, Message, Scope

Headers = Iterable[tuple[str, str]] | Mapping[str, str]
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What came back. `headers` in lower case, one that came several times joined by a comma."""

    status: int
    header_list: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        joined: dict[str, str] = {}
        for name, value in self.header_list:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        assert self.headers["content-type"] == JSON, self
        return json.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (value.partition(";")[0].partition("=") for name, value in self.header_list if name == "set-cookie")
        return {name: value for name, _, value in pairs}


class InTheTestsThread:
    """Runs what it is asked to when the test's thread comes by."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """As `ovauth.threads.Threads` does it."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(call(*arguments))
            except BaseException as fault:
                future.set_exception(fault)

        self.waiting.put(run)
        return await asyncio.wrap_future(future)

    async def run_together(self, call: Callable[[list[Any]], list[Any]], argument: Any) -> Any:
        return (await self.run(call, [argument]))[0]

    def work_until(self, done: Future[Any]) -> None:
        done.add_done_callback(lambda _: self.waiting.put(None))
        while (run := self.waiting.get(timeout=30)) is not None:
            run()


@contextmanager
def _connection_kept_open() -> Iterator[None]:
    """As Django's own test client does it: a request would close the connection that holds the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


class Site:
    """Asks the application as a server would hand it a request."""

    def __init__(self, app: ASGIApp, portal: BlockingPortal, threads: InTheTestsThread) -> None:
        self.app, self.portal, self.threads = app, portal, threads
        self.host = "testserver"
        self.scheme = "http"
        self.peer = "203.0.113.7"

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post_form(self, path: str, fields: Mapping[str, Any] | Iterable[tuple[str, Any]], **more: Any) -> Answer:
        return self.ask("POST", path, body=urlencode(fields, doseq=True).encode(), content_type=FORM, **more)

    def post_json(self, path: str, document: Any, **more: Any) -> Answer:
        return self.ask("POST", path, body=json.dumps(document).encode(), content_type=JSON, **more)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: bytes | Mapping[str, Any] | Iterable[tuple[str, Any]] = b"",
        headers: Headers = (),
        body: bytes | list[bytes] = b"",
        content_type: str | None = None,
        key: str | None = None,
        host: str | None = None,
        peer: str | None = None,
        scheme: str | None = None,
    ) -> Answer:
        """`path` as it is after decoding; a list as `body` comes in chunks, without a declared length."""
        sent = [(b"host", (self.host if host is None else host).encode("latin-1"))]
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        sent += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        if content_type is not None:
            sent.append((b"content-type", content_type.encode("latin-1")))
        if key is not None:
            sent.append((b"authorization", f"Bearer {key}".encode()))
        chunks = body if isinstance(body, list) else [body]
        if isinstance(body, bytes) and body:
            sent.append((b"content-length", str(len(body)).encode()))
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme or self.scheme,
            "path": path,
            "raw_path": quote(path, safe="/%:@!$&'()*+,;=~", errors="surrogatepass").encode(),
            "query_string": query if isinstance(query, bytes) else urlencode(query, doseq=True).encode(),
            "root_path": "",
            "headers": sent,
            "client": (peer or self.peer, 4711),
            "server": ("127.0.0.1", 1933),
            "state": {},
        }
        future = self.portal.start_task_soon(self._run, scope, chunks)
        with _connection_kept_open():
            self.threads.work_until(future)
        return future.result()

    async def _run(self, scope: Scope, chunks: list[bytes]) -> Answer:
        incoming: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": place < len(chunks)}
            for place, chunk in enumerate(chunks, start=1)
        ]
        outgoing: list[Message] = []

        async def receive() -> Message:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            outgoing.append(message)

        await self.app(scope, receive, send)
        start = outgoing[0]
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
        content = b"".join(message.get("body", b"") for message in outgoing[1:])
        return Answer(start["status"], headers, content)
