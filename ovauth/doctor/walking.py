"""One client's way, as it really goes it: knock, discover, register, open the code page. What it registered it deletes."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from ovauth import credentials
from ovauth.doctor import judging
from ovauth.doctor.asking import Target, document, is_page, media_type, named
from ovauth.doctor.clients import DOCUMENT, DOCUMENT_CALLBACK, OPENID, RESOURCE, Client
from ovauth.doctor.faults import Finding, NoAnswer, found, shown
from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _
from ovauth.rules import pkce

BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
NEUTRAL: Final = "ovauth-doctor"
CODE_PAGE: Final = Said(_("code page"))
"""The last step of a walk."""
NOT_READ: Final = "documents-not-read"


class Stuck(Exception):
    """The client cannot go on."""


class Walk:
    """`findings` is what was wrong on the way, `reached` the steps taken, `left` whether a client could not be deleted."""

    def __init__(self, target: Target, client: Client, *, initial_access_token: str | None = None) -> None:
        self.target, self.client = target, client
        self.initial_access_token = initial_access_token
        self.findings: list[Finding] = []
        self.reached: list[str] = []
        self.elsewhere = ""
        """The authorization server of a server that is not its own."""
        self.left = False
        self.was_asked_before = False
        """Whether the server tried its document a moment ago, and does not say now whether it can be read."""
        self.metadata: dict[str, Any] = {}
        self.registered: dict[str, Any] = {}
        self.scopes = {"challenge": "", "supported": ""}
        self.announced = ""
        """The issuer, as the resource metadata spell it."""
        self.resource = target.mcp
        """What the metadata call the MCP server."""
        self.verifier = credentials.browser()
        self.state = credentials.identifier()
        self.pending_id = self.cookie = ""
        self.is_invited = True
        self.ms = 0.0

    def go(self, *, keep: bool = False) -> "Walk":
        """All steps until one cannot be taken. With `keep` the client stays registered, for whoever goes on."""
        started = time.perf_counter()
        steps: dict[str, Callable[[], None]] = {
            Said(_("challenge")): self._knock,
            Said(_("discovery")): self._discover,
            Said(_("registration")): self._register,
            CODE_PAGE: self._authorize,
        }
        try:
            for name, step in steps.items():
                if step == self._register and self.comes_by_document:
                    continue
                step()
                if self.elsewhere:
                    break
                self.reached.append(name)
        except Stuck:
            pass
        except NoAnswer as fault:
            self._note(fault.finding)
        finally:
            if not keep:
                self.unregister()
        self.ms = (time.perf_counter() - started) * 1000
        return self

    @property
    def comes_by_document(self) -> bool:
        """Whether it names its document in place of registering. The server has to offer both, or Claude registers."""
        offered = self.metadata.get("client_id_metadata_document_supported") is True
        methods = self.metadata.get("token_endpoint_auth_methods_supported") or ()
        return self.client.has_document and offered and "none" in methods

    # ------------------------------------------------------------------ the steps

    def _knock(self) -> None:
        """Without a token: 401, and where to find the metadata."""
        url = self.target.at + "/mcp" + self.client.ending
        for method in self.client.first:
            answer = self._ask(method, url, **({"json": initialize(self.client.protocol)} if method == "POST" else {}))
            if answer.status_code == 403 and self._is_about_its_name(method, url):
                agent = shown(self.client.user_agent, 60)
                raise self._stuck(found("client-blocked", agent=agent, status=str(answer.status_code)))
            if method == "GET" and answer.status_code in (400, 405, 406):
                # It opens no stream for whoever has no session. Whether it wants a token tells the next request.
                method, answer = "POST", self._ask("POST", url, json=initialize(self.client.protocol))
            self._judge(judging.on_the_way(self.target, method, url, answer))
            if _is_an_mcp_answer(answer):
                raise self._stuck(found("no-login", url=self.target.mcp))
            if answer.status_code not in (401, 403):
                kind = Said(_(", a web page")) if is_page(answer) else ""
                raise self._stuck(found("no-mcp", url=self.target.mcp, status=str(answer.status_code), kind=kind))
            self._read(method, url, answer, ["authorization", "content-type", "mcp-protocol-version"])
            challenge = judging.challenge(answer)
            if challenge is not None and "resource_metadata" in challenge:
                self.scopes["challenge"] = challenge.get("scope", "")
                expected = f"{RESOURCE}{self.target.at}/mcp"
                self._check_origin(challenge["resource_metadata"], expected)
            else:
                self.is_invited = False

    def _check_origin(self, said: str, path: str) -> None:
        """The address in the challenge is compared as the issuer is, but it does not stop those who go on to look."""
        if said != self.target.origin + path and said.endswith(path):
            self._note(
                judging.address(self.target, Said(_("The challenge of /mcp")), said.removesuffix(path) + self.target.at)
            )

    def _discover(self) -> None:
        for path in self.client.tried:
            answer = self._ask("GET", path.format(at=self.target.at))
            if answer.status_code != 404 or is_page(answer):
                self._document(path.format(at=self.target.at), answer)
        for path in self.client.discovery:
            path = path.format(at=self.target.at)
            answer = self._ask("GET", path)
            if path.startswith(OPENID) and "token_endpoint" in self.metadata and answer.status_code == 404:
                continue  # it has found the same elsewhere
            told = self._document(path, answer)
            self._read("GET", path, answer, ["mcp-protocol-version"])
            if path.startswith(RESOURCE):
                self._read_resource(path, told)
            else:
                self.metadata = told
                self._judge(judging.server_metadata(self.target, path, told, self.announced), stops=False)
            if self.elsewhere:
                return
        if "token_endpoint" not in self.metadata:
            raise Stuck
        if self.client.needs_challenge and not self.is_invited:
            raise self._stuck(found("challenge-stripped", url=self.target.mcp))

    def _document(self, path: str, answer: httpx2.Response) -> dict[str, Any]:
        self._judge(judging.well_known(self.target, path, answer, root_is_passed=self._root_is_passed(answer)))
        return document(answer) or {}

    def _root_is_passed(self, answer: httpx2.Response) -> bool:
        """Whether the rest of the server is there, when a document is not."""
        if answer.status_code == 200:
            return True
        with suppress(NoAnswer):
            return document(self.target.ask("POST", f"{self.target.at}/token")) is not None
        return False

    def _read_resource(self, path: str, told: dict[str, Any]) -> None:
        servers = told.get("authorization_servers")
        self.scopes["supported"] = " ".join(map(str, told.get("scopes_supported") or ()))
        first = urlsplit(str(servers[0])).hostname if isinstance(servers, list) and servers else None
        if told.get("resource") == self.target.mcp and first not in (None, self.target.host):
            self.elsewhere = f"https://{shown(str(first))}"
            return
        self._judge(judging.resource_metadata(self.target, path, told), stops=False)
        self.resource = str(told.get("resource", self.resource))
        self.announced = str(servers[0]) if isinstance(servers, list) and servers else ""

    def _register(self) -> None:
        endpoint = self.metadata.get("registration_endpoint")
        if not isinstance(endpoint, str):
            raise self._stuck(
                found("registration-closed", how=Said(_("there is no registration_endpoint in its metadata")))
            )
        url = self.target.here(endpoint)
        headers = {"authorization": f"Bearer {self.initial_access_token}"} if self.initial_access_token else {}
        answer = self._ask("POST", url, json=self.client.document(self.scopes), headers=headers)
        if answer.status_code in (401, 403) and document(answer) is not None:
            raise self._stuck(found("registration-closed", how=f"{named('POST', url)}: {answer.status_code}"))
        self._judge(judging.on_the_way(self.target, "POST", url, answer))
        told = document(answer) or {}
        if answer.status_code not in (200, 201):
            why = shown(str(told.get("error_description") or told.get("error") or ""))
            why = why or (Said(_("a web page")) if is_page(answer) else "")
            raise self._stuck(found("registration-refused", status=str(answer.status_code), why=why))
        self.registered = told
        self._read("POST", url, answer, ["content-type"])
        self._judge(self._why_unusable(told))

    def _why_unusable(self, told: dict[str, Any]) -> Finding | None:
        asked = self.client.document(self.scopes)["token_endpoint_auth_method"]
        if not isinstance(told.get("client_id"), str):
            return found("registration-broken", why=Said(_("it has no client_id")))
        if empty := [name for name, value in told.items() if value is None]:
            return found("registration-broken", why=Said(_("`{name}` is null"), name=shown(empty[0], 40)))
        if told.get("token_endpoint_auth_method", asked) != asked:
            why = Said(_("it does not name the authentication method that was asked for ({asked})"), asked=asked)
            return found("registration-broken", why=why)
        return None

    def _authorize(self) -> None:
        """What the browser does, as far as the page with the code."""
        endpoint = self.target.here(str(self.metadata["authorization_endpoint"]))
        answer = self._browse(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(self._request())}")
        location = answer.headers.get("location", "")
        pending = parse_qs(urlsplit(location).query).get("pending") if answer.is_redirect else None
        if self.comes_by_document:
            self._judge(self._why_not_read(endpoint, answer, location))
            self.reached.append(Said(_("its document")))
        if pending is None:
            self._judge(self._why_no_page(endpoint, answer, location))
            return
        self.pending_id = pending[0]
        self.cookie = "; ".join(value.partition(";")[0] for value in answer.headers.get_list("set-cookie"))
        if not self.cookie:
            raise self._stuck(found("cookies-stripped"))
        page = self._browse(self.target.here(urljoin(self.target.origin + endpoint, location)))
        self._judge(judging.on_the_way(self.target, "GET", "/oauth/authorize/page", page))
        policy = page.headers.get_list("cross-origin-opener-policy")
        if any("same-origin" in value for value in policy):
            self._note(found("popup-cut", policy=shown(", ".join(policy), 60)))
        if (status := self.waits()) != "pending":
            raise self._stuck(
                found("authorize-refused", why=Said(_("the page is there, but it says {status}"), status=status))
            )

    def _request(self) -> dict[str, str]:
        sent = {
            "response_type": "code",
            "client_id": DOCUMENT if self.comes_by_document else self.registered["client_id"],
            "redirect_uri": DOCUMENT_CALLBACK if self.comes_by_document else self.client.redirect_uri,
            "state": self.state,
            "code_challenge": pkce.challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        if self.client.names_resource:
            sent["resource"] = self.resource
        scope = self.client.scope.format_map(self.scopes).strip()
        return sent | ({"scope": scope} if scope else {})

    def _why_not_read(self, endpoint: str, answer: httpx2.Response, location: str) -> Finding | None:
        """Of a client that comes by its document: whether the server could read that. It tries once in half a minute."""
        if answer.status_code == 429:
            self.was_asked_before = True
            raise Stuck
        error = parse_qs(urlsplit(location).query).get("error")
        if not answer.is_error:
            return found(NOT_READ, url=DOCUMENT, status=shown(error[0], 60)) if error else None
        if self._is_query_stripped(endpoint, answer):
            return found("query-stripped")
        in_between = judging.on_the_way(self.target, "GET", endpoint, answer) if answer.status_code != 503 else None
        return in_between or found(NOT_READ, url=DOCUMENT, status=str(answer.status_code))

    def _is_query_stripped(self, endpoint: str, answer: httpx2.Response) -> bool:
        return answer.status_code == 400 and judging.same_page(answer, self._browse(endpoint.partition("?")[0]))

    def _why_no_page(self, endpoint: str, answer: httpx2.Response, location: str) -> Finding | None:
        """Of another server any page and any redirect is a login; of ovauth they are not."""
        if self._is_query_stripped(endpoint, answer):
            return found("query-stripped")
        finding = judging.on_the_way(self.target, "GET", endpoint, answer)
        if finding is not None and not answer.is_redirect and finding.fault.id != "login-wall":
            return finding
        if error := parse_qs(urlsplit(location).query).get("error"):
            return found("authorize-refused", why=Said(_("it answers {status}"), status=shown(error[0], 60)))
        if answer.is_success or answer.is_redirect:
            return None
        return found("authorize-refused", why=Said(_("it answers {status}"), status=str(answer.status_code)))

    def status(self) -> dict[str, Any]:
        """What became of the request, for the browser that began it."""
        query = urlencode({"pending": self.pending_id})
        return document(self._browse(f"{self.target.at}/oauth/authorize/page/status?{query}")) or {}

    def waits(self) -> str:
        status = self.status().get("status")
        return Said(_("nothing that can be read")) if status is None else shown(str(status), 40)

    def unregister(self) -> None:
        """By RFC 7592. Whatever the way was, what we made is gone; `left` if it could not be."""
        uri, token = self.registered.get("registration_client_uri"), self.registered.get("registration_access_token")
        if not self.registered.get("client_id"):
            return
        self.left = True
        if isinstance(uri, str) and isinstance(token, str):
            with suppress(NoAnswer):
                headers = {"authorization": f"Bearer {token}"}
                self.left = self.target.ask("DELETE", self.target.here(uri), headers=headers).status_code != 204
        self.registered = {}

    # ------------------------------------------------------------------ how it asks, and what it makes of the answer

    def _ask(self, method: str, url: str, *, headers: dict[str, str] | None = None, **sent: Any) -> httpx2.Response:
        """As the client does it, with its own headers."""
        own = {"user-agent": self.client.user_agent, "mcp-protocol-version": self.client.protocol}
        own["accept"] = "application/json, text/event-stream" if url.rstrip("/").endswith("/mcp") else "application/json"
        if self.client.origin:
            own["origin"] = self.client.origin
        return self.target.ask(method, url, headers=own | (headers or {}), **sent)

    def _browse(self, url: str) -> httpx2.Response:
        headers = {"user-agent": BROWSER, "accept": "text/html"} | ({"cookie": self.cookie} if self.cookie else {})
        return self.target.ask("GET", url, headers=headers)

    def _is_about_its_name(self, method: str, url: str) -> bool:
        """Whether somebody without a name is answered otherwise."""
        return self.target.ask(method, url, headers={"user-agent": NEUTRAL}).status_code != 403

    def _read(self, method: str, url: str, answer: httpx2.Response, headers: list[str]) -> None:
        """Whether a web page would have been let ask with these headers, and may read the answer (the Fetch standard)."""
        if self.client.origin is None:
            return
        asked = {"access-control-request-method": method, "access-control-request-headers": ",".join(headers)}
        before = self._ask("OPTIONS", url, headers=asked)
        self._judge(judging.preflight(named(method, url), before, self.client.origin, headers))
        self._judge(judging.readable(named(method, url), answer, self.client.origin))

    def _judge(self, finding: Finding | None, *, stops: bool = True) -> None:
        """Notes what was found. Where the client would stop, but more can be found behind, `stops` is false."""
        if finding is not None:
            self._note(finding)
            if stops:
                raise Stuck

    def _stuck(self, finding: Finding) -> Stuck:
        self._note(finding)
        return Stuck()

    def _note(self, finding: Finding | None) -> None:
        if finding is not None and finding.fault.id not in {known.fault.id for known in self.findings}:
            self.findings.append(finding)


def _is_an_mcp_answer(answer: httpx2.Response) -> bool:
    """Whether somebody without a token was let in."""
    return answer.status_code == 200 and (
        media_type(answer) == "text/event-stream" or "jsonrpc" in (document(answer) or {})
    )


def initialize(protocol: str) -> dict[str, Any]:
    about = {"protocolVersion": protocol, "capabilities": {}, "clientInfo": {"name": "ovauth doctor", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
