"""What an answer tells about the way that it came: an answer in, a finding out, None when all is well. Nothing is asked."""

import re
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2

from ovauth.doctor.asking import Target, document, is_page, named
from ovauth.doctor.faults import Finding, found, shown
from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _
from ovauth.rules import networks, origin, web_address

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_LOGIN: Final = re.compile(r"log-?in|sign-?in|sso|/auth\b|/oauth2/|/cdn-cgi/access", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"[0-9a-f]{32}")
_CACHES: Final = ("x-cache", "cf-cache-status", "x-cache-status", "x-proxy-cache", "x-varnish-cache", "cache-status")


def on_the_way(target: Target, method: str, url: str, answer: httpx2.Response) -> Finding | None:
    """What is wrong with any answer to a program, whatever it asked for: somebody in between gave it."""
    what, status = named(method, url), answer.status_code
    ours = document(answer)
    if status in (502, 503, 504) and ours is None:
        return found("bad-gateway", what=what, status=str(status))
    if status >= 500:
        return found("server-error", what=what, status=str(status))
    if status == 421:
        return found("host-refused", what=what, host=target.host)
    if status == 429:
        return found("too-many-requests", what=what)
    if answer.is_redirect:
        return redirected(target, method, url, answer)
    schemes = {value.partition(" ")[0].lower() for value in answer.headers.get_list("www-authenticate")}
    if status in (401, 403) and ours is None and (is_page(answer) or (schemes and "bearer" not in schemes)):
        kind = Said(_("a web page")) if is_page(answer) else shown(", ".join(sorted(schemes)), 40)
        how = Said(_("{status} {kind}"), status=str(status), kind=kind)
        return found("login-wall", what=what, how=how)
    return None


def redirected(target: Target, method: str, url: str, answer: httpx2.Response) -> Finding:
    asked = target.origin + urlsplit(url).path
    location = urljoin(asked, answer.headers["location"])
    there = urlsplit(location)
    elsewhere = there.netloc.lower() != urlsplit(asked).netloc.lower()
    if _LOGIN.search(location) or (elsewhere and answer.status_code in (302, 303, 307) and there.hostname != target.host):
        how = Said(_("{status} to {location}"), status=str(answer.status_code), location=shown(location))
        return found("login-wall", what=named(method, url), how=how)
    if target.scheme == "http" and there.scheme == "https" and there.hostname == target.host:
        return found("post-to-https", url=asked, location=shown(location))
    if method == "GET":
        return found("well-known-redirected", path=urlsplit(url).path, location=shown(location))
    return found("post-redirected", url=asked, location=shown(location))


def address(target: Target, where: str, said: str, *, ending: str = "") -> Finding | None:
    """How what a document says differs from the address that people were given, with `ending` behind both."""
    asked = target.base + ending
    if said == asked:
        return None
    places = {"where": where, "said": shown(said), "asked": target.base}
    if said.rstrip("/") == asked:
        return found("issuer-slash", **places)
    try:
        read = web_address.read(said)
    except ValueError:
        return found("issuer-differs", **places)
    host = read.host.lower().strip("[]")
    if host != target.host:
        return found("issuer-local" if _is_inside(read.host) else "issuer-differs", **places)
    if read.scheme.lower() == "http" and target.scheme == "https":
        return found("issuer-scheme", **places)
    if read.scheme.lower() == target.scheme and read.origin != target.origin:
        return found("issuer-port", **places)
    return found("issuer-differs", **places)


def _is_inside(host: str) -> bool:
    """Whether it is an address or a name that only those behind the proxy know."""
    if origin.is_loopback_host(host) or "." not in host.strip("[]").replace(":", "."):
        return True
    return networks.is_private(host.strip("[]"))


def challenge(answer: httpx2.Response) -> dict[str, str] | None:
    """The parameters of the Bearer challenge (RFC 6750 §3, RFC 9728 §5.1); None when there is none."""
    for value in answer.headers.get_list("www-authenticate"):
        if value.partition(" ")[0].lower() == "bearer":
            return dict(_PARAMETER.findall(value))
    return None


def well_known(target: Target, path: str, answer: httpx2.Response, *, root_is_passed: bool) -> Finding | None:
    """Whether a metadata document came."""
    if finding := on_the_way(target, "GET", path, answer):
        return finding
    status = str(answer.status_code)
    if answer.status_code != 200 and not root_is_passed:
        kind = Said(_(", a web page")) if is_page(answer) else ""
        return found("root-not-passed", path=path, status=status, kind=kind)
    if is_page(answer):
        return found("html-at-well-known", path=path, status=status)
    if answer.status_code != 200:
        return found("no-metadata", path=path, status=status)
    if document(answer) is None:
        return found("metadata-broken", path=path, url=target.origin + path, why=Said(_("it is no JSON object")))
    return None


def resource_metadata(target: Target, path: str, told: dict[str, Any]) -> Finding | None:
    """RFC 9728 §3.3: the resource has to be the one that was asked for."""
    servers = told.get("authorization_servers")
    if not isinstance(told.get("resource"), str) or not isinstance(servers, list) or not servers:
        why = Said(_("it lacks `resource` or `authorization_servers`"))
        return found("metadata-broken", path=path, url=target.origin + path, why=why)
    return address(target, _member("resource", path), told["resource"], ending="/mcp") or address(
        target, _member("authorization_servers", path), str(servers[0]).removesuffix("/")
    )


def _member(name: str, path: str) -> Said:
    return Said(_("`{name}` in {path}"), name=name, path=path)


def server_metadata(target: Target, path: str, told: dict[str, Any], announced: str) -> Finding | None:
    """RFC 8414 §3.3, and what MCP clients ask for beside it. `announced` is how the resource metadata spell the issuer, if
    the client has read them: a slash at its end matters only where the two differ."""
    missing = [
        name for name in ("issuer", "authorization_endpoint", "token_endpoint") if not isinstance(told.get(name), str)
    ]
    if missing:
        return found(
            "metadata-broken", path=path, url=target.origin + path, why=Said(_("it lacks `{name}`"), name=missing[0])
        )
    if "S256" not in (told.get("code_challenge_methods_supported") or ()):
        why = Said(_("`code_challenge_methods_supported` lacks S256, without which clients do not begin"))
        return found("metadata-broken", path=path, url=target.origin + path, why=why)
    issuer = told["issuer"]
    return address(target, _member("issuer", path), issuer.removesuffix("/") if announced in ("", issuer) else issuer)


def readable(what: str, answer: httpx2.Response, asking: str) -> Finding | None:
    """Whether a web page of that origin may read the answer."""
    allowed = answer.headers.get_list("access-control-allow-origin")
    if not allowed:
        return found("cors-missing", what=what)
    if len(allowed) > 1 or "," in allowed[0]:
        return found("cors-twice", what=what, said=shown(", ".join(allowed), 60))
    return None if allowed[0] in ("*", asking) else found("cors-missing", what=what)


def preflight(what: str, answer: httpx2.Response, asking: str, headers: list[str]) -> Finding | None:
    """Whether the browser goes on and sends a request with these headers."""
    if not answer.is_success:
        return found("preflight-refused", what=what, why=str(answer.status_code))
    allowed = ",".join(answer.headers.get_list("access-control-allow-headers")).lower().replace(" ", "").split(",")
    refused = [name for name in headers if name not in allowed and ("*" not in allowed or name == "authorization")]
    if refused:
        why = Said(_("Access-Control-Allow-Headers lacks {name}"), name=refused[0])
        return found("preflight-refused", what=what, why=why)
    return readable(Said(_("OPTIONS for {what}"), what=what), answer, asking)


def from_cache(answer: httpx2.Response) -> str:
    """How a cache gives itself away in an answer that must not be kept; nothing when it does not."""
    if answer.headers.get("age", "0") != "0":
        return f"Age: {shown(answer.headers['age'], 20)}"
    for name in _CACHES:
        if "hit" in answer.headers.get(name, "").lower():
            return f"{name}: {shown(answer.headers[name], 40)}"
    return ""


def same_page(one: httpx2.Response, other: httpx2.Response) -> bool:
    """Whether two answers are one, but for the reference of the request."""
    texts = {_REFERENCE.sub("", answer.text) for answer in (one, other)}
    return one.status_code == other.status_code and len(texts) == 1
