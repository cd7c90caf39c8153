"""The protocol stack: the endpoints that programs ask, beside the page stack of `serving`.

The same Ninja operations, with what they need around them: provenance and a request id, refusals in their shape, the
headers of everything. No session, no language, no static files, and none of Django's request signals.

Two have a short way for a plain question, in the event loop: discovery, and introspection on SQLite. All others run on
`threads.protocol`. On SQLite that is one thread, so of this process at most one writer waits for others, and
requests that come meanwhile share the next commit (`flows.commits`). What may wait for somebody else's server (a client's
document, its keys) runs on `threads.others`.
"""

from collections.abc import Callable
from typing import Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import resolve
from starlette.types import Receive, Scope, Send

from ovauth import glances, threads
from ovauth.flows import commits
from ovauth.web import discovery, faults, introspecting, oauth
from ovauth.web.middleware import Requests, page_headers
from ovauth.web.serving import Answer, complete, last_net, readable, said, send_answer

STATUS: Final = "/oauth/authorize/page/status"
WRITING: Final = frozenset({"/token", "/register", "/revoke", "/device_authorization", "/par"})
"""What nearly always writes."""


def answers(path: str) -> bool:
    """Whether that path (below the issuer's own) is answered by this stack."""
    return path == STATUS or faults.is_oauth(path) or faults.is_well_known(path)


class Protocol:
    """An ASGI application for the paths that `answers` knows."""

    def __init__(self) -> None:
        self._views: dict[str, Callable[..., HttpResponse]] = {}
        self._documents = discovery.Kept()
        self._respond = Requests(self._view)
        self._shares_commits = commits.are_shared()
        self._headers = [(name.lower().encode(), value.encode()) for name, value in page_headers().items()]
        self._introspection = introspecting.AtAGlance() if glances.are_possible() else None
        self._private = [*introspecting.PRIVATE, *(header for header in self._headers if header[0] != b"cache-control")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (known := self._documents.again(scope)) is not None:
            await send_answer(send, known)
            await self._documents.note(scope["client"][0])
            return
        if (whole := await complete(scope, receive)) is None:
            return
        if self._introspection is not None and scope["path"] == scope["root_path"] + introspecting.PATH:
            told = self._introspection.told(*whole)
            if told is not None:
                await send_answer(send, (200, [*self._private, (b"content-length", b"%d" % len(told))], told))
                return
        request = readable(*whole)
        if oauth.may_wait_for_others(request):
            answer = await threads.others.run(self._alone, request)
        elif self._shares_commits and request.path_info in WRITING:
            answer = await threads.protocol.run_together(self._together, request)
        else:
            answer = await threads.protocol.run(self._alone, request)
        await send_answer(send, answer)

    def _alone(self, request: ASGIRequest) -> Answer:
        return commits.alone(self._answer, request)

    def _together(self, requests: list[ASGIRequest]) -> list[Answer]:
        return commits.together(self._answer, requests)

    def _answer(self, request: ASGIRequest) -> Answer:
        try:
            status, headers, content = said(self._respond(request), str(request.method))
            named = {name for name, _ in headers}
            answer = status, [*headers, *(header for header in self._headers if header[0] not in named)], content
            if faults.is_well_known(request.path_info):
                self._documents.keep(request.scope, answer)
            return answer
        except Exception:
            return last_net()

    def _view(self, request: HttpRequest) -> HttpResponse:
        try:
            return self._found(request)
        except Exception as fault:
            return faults.answer(request, fault)

    def _found(self, request: HttpRequest) -> HttpResponse:
        known = self._views.get(request.path_info)
        if known is not None:
            return known(request)
        match = resolve(request.path_info)
        if not match.args and not match.kwargs:
            self._views[request.path_info] = match.func  # the next time it is not looked for among all URLs
        return match.func(request, *match.args, **match.kwargs)
