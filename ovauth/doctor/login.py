"""The rest of the way, with an API key: approve, redeem, call, refresh, revoke, and be refused. Nothing of it stays."""

import json
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2

from ovauth.doctor.asking import Target, document
from ovauth.doctor.clients import Client
from ovauth.doctor.faults import Finding, found, shown
from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _
from ovauth.doctor.walking import CODE_PAGE, Stuck, Walk, initialize

DOCTOR: Final = Client(
    name="ovauth doctor",
    user_agent="ovauth-doctor",
    registration={"client_name": "ovauth doctor"},
    redirect_uri="http://127.0.0.1/ovauth-doctor",
)
TOOLS: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def is_ovauth(target: Target) -> bool:
    """By two answers that are its own. A key in the environment is not for everybody whose address is looked at."""
    unknown = target.ask("GET", f"{target.origin}/.well-known/ovauth-doctor")
    alive = target.ask("GET", f"{target.at}/health/live")
    return document(unknown) == {"error": "not_found"} and (document(alive) or {}).get("status") == "ok"


class Login(Walk):
    """A walk that does not end at the code page. `steps` says what was done, in words without a secret."""

    def __init__(self, target: Target, api_key: str) -> None:
        super().__init__(target, DOCTOR, initial_access_token=api_key)
        self.api_key = api_key
        self.tokens: dict[str, Any] = {}
        self.session: dict[str, str] = {}
        self.steps: list[str] = []

    def go(self, *, keep: bool = True) -> "Login":
        try:
            super().go(keep=True)
            if self.reached[-1:] == [CODE_PAGE] and self.pending_id:
                self._go_on()
        except Stuck:
            pass
        finally:
            self.unregister()
        return self

    def _go_on(self) -> None:
        self._approve()
        self._redeem()
        self._call()
        self._refresh()
        self._revoke()
        self.reached.append(Said(_("login")))

    def _approve(self) -> None:
        answer = self.target.ask(
            "POST",
            f"{self.target.at}/api/v1/auth/oauth-verify",
            json={"pending_id": self.pending_id, "decision": "approve"},
            headers={"authorization": f"Bearer {self.api_key}"},
        )
        if answer.status_code == 401:
            raise self._stuck(found("key-unknown", url=self.target.base))
        self._expect(Said(_("the approval")), answer)
        self.steps.append(Said(_("approved")))

    def _redeem(self) -> None:
        told = self.status()
        came = {name: values[0] for name, values in parse_qs(urlsplit(str(told.get("redirect_url", ""))).query).items()}
        step = Said(_("the code"))
        if "code" not in came:
            status = shown(str(told.get("status", "")), 40) or Said(_("nothing"))
            raise self._stopped(step, Said(_("the page says {status}"), status=status))
        if came.get("state") != self.state:
            raise self._stopped(step, Said(_("the state came back changed")))
        if (
            self.metadata.get("authorization_response_iss_parameter_supported")
            and came.get("iss") != self.metadata["issuer"]
        ):
            said = shown(came["iss"]) if "iss" in came else Said(_("missing"))
            raise self._stopped(step, Said(_("`iss` is {said}, not the issuer of the metadata"), said=said))
        self.tokens = self._token(
            step,
            grant_type="authorization_code",
            code=came["code"],
            code_verifier=self.verifier,
            redirect_uri=self.client.redirect_uri,
        )
        self.steps.append(Said(_("signed in")))

    def _call(self) -> None:
        """`initialize` and `tools/list`, as a client of any MCP revision with sessions does."""
        opened = self._mcp(initialize(self.client.protocol))
        self._expect("initialize", opened)
        if session := opened.headers.get("mcp-session-id"):
            self.session = {"mcp-session-id": session}
        self._mcp({"jsonrpc": "2.0", "method": "notifications/initialized"})
        listed = self._mcp(TOOLS)
        self._expect("tools/list", listed)
        tools = (_message(listed).get("result") or {}).get("tools")
        if not isinstance(tools, list):
            raise self._stopped("tools/list", Said(_("the answer has no tools")))
        self.steps.append(Said(_("tools/list names {count}"), count=str(len(tools))))

    def _refresh(self) -> None:
        if "refresh_token" in self.tokens:
            self.tokens |= self._token(
                Said(_("the refresh")), grant_type="refresh_token", refresh_token=self.tokens["refresh_token"]
            )
            self._expect(Said(_("a call with the refreshed token")), self._mcp(TOOLS))
            self.steps.append(Said(_("refreshed")))

    def _revoke(self) -> None:
        endpoint = self.metadata.get("revocation_endpoint")
        if not isinstance(endpoint, str):
            return
        token = self.tokens.get("refresh_token", self.tokens["access_token"])
        form = {"token": token, "client_id": self.registered["client_id"]}
        self._expect(Said(_("the revocation")), self.target.ask("POST", self.target.here(endpoint), data=form))
        if self._mcp(TOOLS).status_code != 401:
            raise self._stuck(found("token-lives-on", url=self.target.mcp))
        self.steps.append(Said(_("revoked and refused")))

    # ------------------------------------------------------------------ how it asks

    def _token(self, step: str, **fields: str) -> dict[str, Any]:
        form = {**fields, "client_id": str(self.registered["client_id"]), "resource": self.resource}
        answer = self.target.ask("POST", self.target.here(str(self.metadata["token_endpoint"])), data=form)
        self._expect(step, answer)
        told = document(answer) or {}
        if not isinstance(told.get("access_token"), str):
            raise self._stopped(step, Said(_("the answer has no access_token")))
        return told

    def _mcp(self, message: dict[str, Any]) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.tokens['access_token']}", **self.session}
        return self._ask("POST", f"{self.target.at}/mcp", json=message, headers=headers)

    def _expect(self, step: str, answer: httpx2.Response) -> None:
        if answer.status_code not in (200, 202):
            told = document(answer) or {}
            error = told.get("error")
            why = error.get("message") if isinstance(error, dict) else told.get("error_description") or error
            raise self._stopped(step, f"{answer.status_code} {shown(str(why or ''), 100)}".rstrip(". "))

    def _stopped(self, step: str, why: str) -> Stuck:
        finding: Finding = found("login-refused", step=step, why=why)
        return self._stuck(finding)


def _message(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC answer, as it is or as the last event of a stream."""
    if (told := document(answer)) is not None:
        return told
    events = [line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:")]
    for event in reversed(events):
        try:
            told = json.loads(event)
        except ValueError:
            continue
        if isinstance(told, dict) and ("result" in told or "error" in told):
            return told
    return {}
