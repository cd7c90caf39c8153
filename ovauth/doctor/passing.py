"""What the way does to requests: what it caches, strips, holds back or refuses."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from ovauth import credentials
from ovauth.doctor import judging
from ovauth.doctor.asking import Target, document
from ovauth.doctor.clients import CLIENTS, RESOURCE, SERVER
from ovauth.doctor.faults import Finding, NoAnswer, found
from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _

STREAM_CHECK: Final = "/mcp/stream-check"
LARGE: Final = 3_900_000
"""Bytes: just below the 4 MiB that ovauth takes at /mcp."""
CLOCK: Final = 5.0
"""Seconds that two clocks may differ."""
MADE_UP: Final = credentials.Kind.ACCESS_TOKEN + "doctor-made-this-up"


@dataclass(frozen=True, slots=True)
class Checked:
    """`said` tells what was seen. Without a finding all is well, or (`skipped`) it cannot be told.

    `whom` are the clients that fail because of the finding, every one that was tried unless it says otherwise.
    """

    said: str = ""
    finding: Finding | None = None
    skipped: bool = False
    whom: tuple[str, ...] | None = None


Check = Callable[[Target], Checked]


def challenge(target: Target) -> Checked:
    """Does the 401 tell where the login is?"""
    answer = target.ask("POST", f"{target.at}/mcp")
    if "resource_metadata" in (judging.challenge(answer) or {}):
        return Checked(Said(_("the 401 tells where the login is")))
    if answer.status_code != 401 or document(target.ask("GET", f"{RESOURCE}{target.at}/mcp")) is None:
        return Checked(Said(_("there is no login to be told of")), skipped=True)
    needing = tuple(client.name for client in CLIENTS if client.needs_challenge)
    return Checked(finding=found("challenge-stripped", url=target.mcp), whom=needing)


def authorization(target: Target) -> Checked:
    """Does the Authorization header arrive, and does no cache answer in its place?"""
    bare = target.ask("POST", target.at + "/mcp")
    if how := judging.from_cache(bare):
        return Checked(finding=found("challenge-cached", how=how))
    with_token = _with_token(target)
    if _knows_a_token(with_token):
        return _is_vary(target)
    # A cache that knows nothing of this address cannot answer, so what is still missing was stripped.
    if _knows_a_token(_with_token(target, f"?doctor={credentials.identifier()}")):
        return Checked(finding=found("challenge-cached", how=Said(_("with a token the answer for those without"))))
    if document(with_token) == document(bare) and document(bare) is not None:
        return Checked(finding=found("authorization-stripped"))
    return Checked(Said(_("cannot be told of this server")), skipped=True)


def _is_vary(target: Target) -> Checked:
    """Whether an address that was asked with a token first answers others as if they had it."""
    query = f"?doctor={credentials.identifier()}"
    for method in ("GET", "POST"):
        _with_token(target, query, method)
        after = target.ask(method, f"{target.at}/mcp{query}")
        if how := judging.from_cache(after):
            return Checked(finding=found("challenge-cached", how=how))
        if _knows_a_token(after):
            return Checked(
                finding=found("challenge-cached", how=Said(_("without a token the answer for somebody with one")))
            )
    return Checked(Said(_("arrives, and its answer is kept by no cache")))


def _with_token(target: Target, query: str = "", method: str = "POST") -> httpx2.Response:
    return target.ask(method, f"{target.at}/mcp{query}", headers={"authorization": f"Bearer {MADE_UP}"})


def _knows_a_token(answer: httpx2.Response) -> bool:
    """Whether it was made for somebody who sent one (RFC 6750 §3.1)."""
    return "error" in (judging.challenge(answer) or {}) or (document(answer) or {}).get("error") == "invalid_token"


def caches(target: Target) -> Checked:
    """Is the token endpoint answered anew each time, and are the metadata of today?"""
    seen = []
    for name in ("doctor-one", "doctor-two"):
        form = {"grant_type": "refresh_token", "refresh_token": "made-up", "client_id": name}
        seen.append(target.ask("POST", f"{target.at}/token", data=form))
    if document(seen[0]) is None:
        return Checked(Said(_("there is no token endpoint to ask")), skipped=True)
    if how := judging.from_cache(seen[1]) or _same_request(seen):
        return Checked(finding=found("token-cached", how=how))
    said = seen[0].headers.get("cache-control", "")
    if "no-store" not in said:
        how = Said(_("Cache-Control is {said} in place of no-store"), said=said or Said(_("missing")))
        return Checked(finding=found("token-cached", how=how))
    return _stale(target) or Checked(Said(_("/token is answered anew each time, the metadata are of today")))


def _same_request(seen: list[httpx2.Response]) -> str:
    ids = {answer.headers.get("x-request-id") for answer in seen}
    return Said(_("two requests, one X-Request-Id")) if len(ids) == 1 and None not in ids else ""


def _stale(target: Target) -> Checked | None:
    for path, member in ((f"{SERVER}{target.at}", "issuer"), (f"{RESOURCE}{target.at}/mcp", "resource")):
        kept = document(target.ask("GET", path)) or {}
        fresh = document(target.ask("GET", f"{path}?doctor={credentials.identifier()}")) or {}
        if member in kept and member in fresh and kept[member] != fresh[member]:
            places = {"path": path, "said": str(kept[member]), "fresh": str(fresh[member])}
            return Checked(finding=found("metadata-stale", **places))
    return None


def large_bodies(target: Target) -> Checked:
    """Does a large request reach the server, which refuses it for want of a token and for nothing else?"""
    path = f"{target.at}/mcp"
    places = {"path": "/mcp", "size": f"{LARGE / 1_000_000:.1f} MB", "most": "4 MiB"}
    headers = {"content-type": "application/json", "authorization": f"Bearer {MADE_UP}"}
    try:
        answer = target.ask("POST", path, content=b" " * LARGE, headers=headers)
    except NoAnswer as fault:
        how = Said(_("timeout") if fault.finding.fault.id == "timeout" else _("cut off"))
        return Checked(finding=found("body-limit", **places, how=how))
    if answer.status_code == 413 or (answer.status_code >= 500 and document(answer) is None):
        return Checked(finding=found("body-limit", **places, how=str(answer.status_code)))
    return Checked(Said(_("{size} reach /mcp"), size=places["size"]))


def streams(target: Target) -> Checked:
    """Does the first event of a stream come before the last?"""
    came: list[float] = []
    url = target.at + STREAM_CHECK
    try:
        with target.http.stream("GET", url, headers={"accept": "text/event-stream"}) as answer:
            if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("text/event-stream"):
                return Checked(Said(_("cannot be told: this server has no check for it")), skipped=True)
            for _event in _events(answer):
                came.append(time.perf_counter())
    except httpx2.HTTPError as error:
        raise target.unanswered("GET", url, error) from None
    if len(came) < 2:
        return Checked(Said(_("cannot be told: the stream ended early")), skipped=True)
    apart = came[-1] - came[0]
    if apart < STREAM_APART / 2:
        return Checked(finding=found("streams-buffered", seconds=f"{STREAM_APART:.1f}"))
    return Checked(Said(_("pass as they come, the first event {seconds} s before the last"), seconds=f"{apart:.1f}"))


STREAM_APART: Final = 0.6
"""Seconds between the two events of the server's stream check."""


def _events(answer: httpx2.Response) -> Iterator[str]:
    for line in answer.iter_lines():
        if line.startswith("data:"):
            yield line


def head(target: Target) -> Checked:
    path = f"{RESOURCE}{target.at}/mcp"
    if target.ask("GET", path).status_code != 200:
        return Checked(Said(_("there is no document to ask for")), skipped=True)
    answer = target.ask("HEAD", path)
    if answer.status_code != 200:
        return Checked(finding=found("head-refused", path=path, status=str(answer.status_code)))
    return Checked(Said(_("is answered as GET is")))


def clock(target: Target) -> Checked:
    """Compares with the middle of the request's time; the header has whole seconds."""
    before = datetime.now(UTC)
    answer = target.ask("GET", f"{RESOURCE}{target.at}/mcp")
    middle = before + (datetime.now(UTC) - before) / 2
    try:
        there = parsedate_to_datetime(answer.headers.get("date", "")).replace(tzinfo=UTC)
    except ValueError:
        return Checked(Said(_("the server does not tell its time")), skipped=True)
    apart = (there - middle).total_seconds() + 0.5
    if abs(apart) > CLOCK:
        direction = Said(_("before") if apart > 0 else _("behind"))
        return Checked(finding=found("clock-differs", seconds=f"{abs(apart):.0f}", direction=direction))
    if abs(apart) < 1:
        return Checked(Said(_("less than a second apart")))
    return Checked(Said(_("{seconds} s apart"), seconds=f"{abs(apart):.0f}"))


CHECKS: Final[dict[str, Check]] = {
    Said(_("clock")): clock,
    Said(_("challenge")): challenge,
    Said(_("Authorization")): authorization,
    Said(_("caches")): caches,
    Said(_("HEAD")): head,
    Said(_("large requests")): large_bodies,
    Said(_("event streams")): streams,
}
