"""Everything that the doctor can find, as data: what is wrong, and the one remedy.

`docs/troubleshooting.md` has each by its id.

Sentences and remedies have places in braces, filled by whoever found the fault. What a server said about itself gets
there through `shown`: it may be hostile to a terminal, and it may hold a code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ovauth.doctor.saying import Said
from ovauth.doctor.saying import gettext_noop as _
from ovauth.rules import display_text

LONGEST_SHOWN: Final = 160


@dataclass(frozen=True, slots=True)
class Fault:
    """`fails` tells whether a client cannot connect because of it; else something is only worse than need be."""

    id: str
    sentence: str
    remedy: str
    fails: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault as it was found here."""

    fault: Fault
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return Said(self.fault.sentence, **self.places)

    @property
    def remedy(self) -> str:
        return Said(self.fault.remedy, **self.places)


class NoAnswer(Exception):
    """A request got no answer; the finding tells why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.fault.id)
        self.finding = finding


def found(fault_id: str, **places: str) -> Finding:
    return Finding(FAULTS[fault_id], places)


def shown(text: str, limit: int = LONGEST_SHOWN) -> str:
    """What a server wrote, fit for a terminal: one line without control characters, and no query, where codes travel."""
    return display_text.clean(text.partition("?")[0].partition("#")[0], limit)


_CATALOGUE: Final = (
    # ------------------------------------------------------------------ reaching it
    Fault(
        "name-unknown",
        _("The name {host} leads nowhere: DNS knows no address for it."),
        _("Add an A or AAAA record for {host} at your DNS provider, or mend the spelling of --url."),
    ),
    Fault(
        "refused",
        _("Nobody listens at {host} port {port}: the connection was refused."),
        _("Start `uv run manage.py serve` and the proxy in front of it, and see that one of them listens on port {port}."),
    ),
    Fault(
        "no-route",
        _("{host} port {port} cannot be reached ({why})."),
        _("Open port {port} in the firewall of the server (or the cloud's), and see that its machine runs."),
    ),
    Fault(
        "timeout",
        _("{what} was not answered within {seconds} seconds."),
        _("Open the port in the firewall, see that `serve` runs, and that the proxy leads to its address."),
    ),
    Fault(
        "cut-off",
        _("{what} was cut off without an answer ({why})."),
        _(
            "See in the logs of the proxy and of `serve` what closed the connection.\n"
            "A server that speaks HTTP/2 alone does so as well: most clients speak HTTP/1.1."
        ),
    ),
    Fault(
        "one-address-dead",
        _("{host} has several addresses, and at {dead} nobody answers ({why}): some apps wait there, or fail."),
        _("Take the record of {dead} out of DNS (an old AAAA, most often), or let the proxy listen there as well."),
        fails=False,
    ),
    Fault(
        "private-address",
        _("{host} leads to {address}, an address of a private network."),
        _("Apps that call from the internet need a public address: a record for the public one, or a tunnel."),
    ),
    Fault(
        "not-encrypted",
        _("{url} is plain http, and it is not this computer."),
        _(
            "Put a proxy with a certificate in front (Caddy gets one by itself), and give clients the https address.\n"
            "Settings: OVAUTH_PUBLIC_BASE_URL=https://{host}"
        ),
    ),
    # ------------------------------------------------------------------ the certificate
    Fault(
        "no-tls",
        _("What listens at {host} port {port} does not speak TLS ({why})."),
        _(
            "Turn https on there (nginx: `listen {port} ssl;` with ssl_certificate and ssl_certificate_key), or use "
            "its http port."
        ),
    ),
    Fault(
        "http1-refused",
        _("{host} takes no HTTP/1.1, only {protocol}."),
        _("Most clients speak HTTP/1.1. Caddy: `servers {{ protocols h1 h2 h3 }}`; elsewhere allow http/1.1 in ALPN."),
    ),
    Fault(
        "certificate-expired",
        _("The certificate of {host} is valid from {since} until {until}, and it is {now}."),
        _(
            "Renew it (certbot renew, then reload the proxy), or see why Caddy could not: its log tells.\n"
            "If the dates are right, the clock of this computer is not."
        ),
    ),
    Fault(
        "certificate-self-signed",
        _("The certificate of {host} is signed by itself: no client has reason to trust it."),
        _("Get one from a public authority: Caddy does so by itself for a public name, and certbot does for nginx."),
    ),
    Fault(
        "certificate-wrong-name",
        _("The certificate is not for {host}, but for {names}."),
        _(
            "Get a certificate for {host}, or give clients the name that it is for.\n"
            "nginx: a server block with `server_name {host};` and its own ssl_certificate."
        ),
    ),
    Fault(
        "certificate-chain-incomplete",
        _("The certificate of {host} comes without the one of its authority ({authority}) between it and the root."),
        _(
            "Send the whole chain. nginx: `ssl_certificate …/fullchain.pem;` in place of cert.pem. "
            "Browsers hide this fault."
        ),
    ),
    Fault(
        "certificate-unknown-authority",
        _("The certificate of {host} is from {authority}, which this computer does not know."),
        _(
            "Get one from a public authority. With an authority of your own, clients have to be told\n"
            "(SSL_CERT_FILE, NODE_EXTRA_CA_CERTS), and apps that call from the internet cannot be."
        ),
    ),
    Fault(
        "certificate-private-authority",
        _("This computer trusts the certificate of {host}, but its authority ({authority}) is no public one."),
        _(
            "Get a certificate from a public authority. In Caddy take out `tls internal`;\n"
            "programs on your computers may be told instead: NODE_EXTRA_CA_CERTS=/path/to/root.crt"
        ),
    ),
    Fault(
        "certificate-ends-soon",
        _("The certificate of {host} ends in {days} days, on {until}."),
        _("Renew it. If that should happen by itself, see in the log of Caddy or certbot why it did not."),
        fails=False,
    ),
    # ------------------------------------------------------------------ the way to ovauth
    Fault(
        "bad-gateway",
        _("The proxy answers {what} with {status}: it does not reach ovauth behind it."),
        _(
            "See that `serve` runs, and that the proxy leads to its address: Caddy `reverse_proxy 127.0.0.1:1933`,\n"
            "nginx `proxy_pass http://127.0.0.1:1933;`. In a container use the name of the service, not 127.0.0.1."
        ),
    ),
    Fault(
        "server-error",
        _("{what} is answered with {status}, a fault of the server itself."),
        _(
            "Its log tells what failed, under the X-Request-Id of the answer; "
            "/health/ready tells whether the database works."
        ),
    ),
    Fault(
        "no-mcp",
        _("There is no MCP server at {url}: a POST there is answered with {status}{kind}."),
        _(
            "Pass the whole root to ovauth, /mcp with it: Caddy `reverse_proxy 127.0.0.1:1933`,\n"
            "nginx `location / {{ proxy_pass http://127.0.0.1:1933; }}`. If the MCP server is elsewhere, name it "
            "with --url."
        ),
    ),
    Fault(
        "no-login",
        _("The MCP server at {url} answers without a login: whoever reaches it may use it."),
        _("If it should be behind ovauth, name it in OVAUTH_MCP_SERVER, and give clients the address of ovauth."),
        fails=False,
    ),
    Fault(
        "root-not-passed",
        _("/mcp reaches the server, {path} does not ({status}{kind}): clients begin at /.well-known/, not at /mcp."),
        _(
            "Pass the whole root. Caddy: `reverse_proxy 127.0.0.1:1933` without a path before it;\n"
            "nginx: `location / {{ proxy_pass http://127.0.0.1:1933; }}` in place of `location /mcp`."
        ),
    ),
    Fault(
        "html-at-well-known",
        _("{path} is answered with a web page ({status}): something in front answers in place of ovauth."),
        _(
            "A single-page app, a 404 page or a login takes what ovauth should get. Pass /.well-known/ to ovauth "
            "before it.\n"
            "nginx: `location /.well-known/ {{ proxy_pass http://127.0.0.1:1933; }}`; Caddy: `handle /.well-known/* "
            "{{ reverse_proxy 127.0.0.1:1933 }}`."
        ),
    ),
    Fault(
        "login-wall",
        _("{what} meets a login in front of ovauth ({how}): programs cannot pass it."),
        _(
            "Take the login (Basic, an access portal, forward auth) away from these paths: ovauth asks for a login "
            "itself.\n"
            "nginx: `auth_basic off; auth_request off;`; Cloudflare Access: a Bypass policy for this host."
        ),
    ),
    Fault(
        "client-blocked",
        _("A firewall refuses this client by its User-Agent ({agent}): {status}, where another one is let through."),
        _(
            "Allow it in the firewall or bot protection (Cloudflare: a skip rule for /mcp, /.well-known/*, /register "
            "and /token)."
        ),
    ),
    Fault(
        "host-refused",
        _("{what} is answered with 421: the server does not take {host} for a name of its own."),
        _(
            "Settings: OVAUTH_PUBLIC_BASE_URL=https://{host}. Pass the name on, too: nginx `proxy_set_header Host "
            "$http_host;`.\n"
            "Where several names share a certificate and HTTP/2, give this one its own certificate or server block."
        ),
    ),
    Fault(
        "too-many-requests",
        _("{what} is answered with 429: too many requests came from here."),
        _(
            "Wait a few minutes. If the proxy does the counting (nginx `limit_req`), exempt /.well-known/, /register "
            "and /token."
        ),
    ),
    Fault(
        "post-to-https",
        _("A POST to {url} is redirected to https: clients lose its body or its token there, or stop."),
        _("Give clients the https address ({location}). Settings: OVAUTH_PUBLIC_BASE_URL with https."),
    ),
    Fault(
        "post-redirected",
        _("A POST to {url} is redirected to {location}: clients lose its body or its token there, or stop."),
        _(
            "Answer both /mcp and /mcp/ without a redirect. nginx: no `location /mcp/` that ends with a slash, and "
            "no `rewrite`;\n"
            "Caddy: `reverse_proxy` without `redir`; a CDN: no rule for trailing slashes."
        ),
    ),
    Fault(
        "well-known-redirected",
        _("{path} is redirected to {location}: many clients do not follow there."),
        _(
            "Answer it where it is asked for. Take the redirect (www, a trailing slash, a language) "
            "away from /.well-known/."
        ),
    ),
    Fault(
        "query-stripped",
        _(
            "What stands behind the question mark does not arrive: /authorize with all of its parameters is answered "
            "as without."
        ),
        _(
            "Pass the query on. nginx: `proxy_pass http://127.0.0.1:1933;` without a path behind it,\n"
            "or with `$request_uri`; a CDN: forward all query strings."
        ),
    ),
    Fault(
        "authorization-stripped",
        _("The Authorization header does not arrive: a token is answered as if there was none."),
        _(
            'Pass it on. nginx: no `proxy_set_header Authorization "";`; Apache: `CGIPassAuth On` or '
            "`SetEnvIf Authorization`;\na login in front that takes the header for itself has to go."
        ),
    ),
    Fault(
        "challenge-stripped",
        _("The 401 of {url} has no WWW-Authenticate header: a client is not told where the login is."),
        _(
            "Pass it on. nginx: no `proxy_hide_header WWW-Authenticate;`; Caddy: no `header -WWW-Authenticate`.\n"
            "ovauth with OVAUTH_ENABLED=false sends none on purpose."
        ),
    ),
    Fault(
        "cookies-stripped",
        _("The cookie that ties a sign-in to its browser is taken out of the answer: the code page shows no code."),
        _("Pass Set-Cookie on. nginx: no `proxy_hide_header Set-Cookie;`; a CDN: no caching of /authorize and /oauth/."),
    ),
    Fault(
        "popup-cut",
        _(
            "Something in front adds `Cross-Origin-Opener-Policy: {policy}` to the code page: apps that open it in a "
            "popup see it as closed."
        ),
        _("Take that header away for ovauth; it sends its own. nginx: no `add_header Cross-Origin-Opener-Policy …`."),
    ),
    # ------------------------------------------------------------------ what the metadata say
    Fault(
        "no-metadata",
        _("{path} has no document ({status}): there is no login to be found here."),
        _(
            "If this is ovauth, OVAUTH_ENABLED=false switches OAuth off: take it out. "
            "Another server has no OAuth, or is elsewhere."
        ),
    ),
    Fault(
        "metadata-broken",
        _("{path} is no usable document: {why}."),
        _("Look at it with `curl {url}`. Something in front may rewrite it; take that away from /.well-known/."),
    ),
    Fault(
        "issuer-scheme",
        _("{where} says {said}, but clients were given {asked}: they compare every character, and stop."),
        _(
            "ovauth is not told that people use https. Settings: OVAUTH_PUBLIC_BASE_URL={asked}, and restart `serve`.\n"
            "nginx: `proxy_set_header X-Forwarded-Proto $scheme;`. "
            "A proxy on another machine: name it in OVAUTH_TRUSTED_PROXIES."
        ),
    ),
    Fault(
        "issuer-local",
        _("{where} says {said}, the address of ovauth behind the proxy, but clients were given {asked}."),
        _(
            "The proxy does not pass its name on, or is not trusted. Settings: OVAUTH_PUBLIC_BASE_URL={asked}, and "
            "restart `serve`.\n"
            "nginx: `proxy_set_header Host $http_host;`. A proxy on another machine: name it in OVAUTH_TRUSTED_PROXIES."
        ),
    ),
    Fault(
        "issuer-port",
        _("{where} says {said}, with another port than {asked}, which clients were given."),
        _(
            "Settings: OVAUTH_PUBLIC_BASE_URL={asked}, and restart `serve`.\n"
            "nginx: `proxy_set_header Host $http_host;` ($host has no port)."
        ),
    ),
    Fault(
        "issuer-slash",
        _("{where} says {said}, with a slash more or less than {asked}: clients compare every character, and stop."),
        _(
            "Settings: OVAUTH_PUBLIC_BASE_URL={asked}, without a slash at the end. "
            "Nothing in front may rewrite the document."
        ),
    ),
    Fault(
        "issuer-differs",
        _("{where} says {said}, but clients were given {asked}: they compare every character, and stop."),
        _("Settings: OVAUTH_PUBLIC_BASE_URL={asked}, and restart `serve`; or give clients the address that it says."),
    ),
    Fault(
        "metadata-stale",
        _("A cache in front still has the old {path}: it says {said}, ovauth itself says {fresh}."),
        _("Purge the cache of the CDN or proxy for /.well-known/*; by itself it goes on for up to an hour."),
    ),
    # ------------------------------------------------------------------ browsers
    Fault(
        "cors-missing",
        _("A web page may not read the answer of {what}: Access-Control-Allow-Origin is missing."),
        _("ovauth sends it; pass it on. nginx: no `proxy_hide_header Access-Control-Allow-Origin;`."),
    ),
    Fault(
        "cors-twice",
        _("The answer of {what} has Access-Control-Allow-Origin twice ({said}): browsers refuse that."),
        _(
            "ovauth sends it already. Take the proxy's own away: nginx no `add_header Access-Control-Allow-Origin`, "
            "Caddy no `header Access-Control-…`."
        ),
    ),
    Fault(
        "preflight-refused",
        _("The browser's question before {what} (OPTIONS) is refused: {why}."),
        _(
            "Pass OPTIONS to ovauth, which answers it. nginx: no `limit_except GET POST` and no `if ($request_method "
            "= OPTIONS)`;\n"
            "a login in front must let OPTIONS through."
        ),
    ),
    # ------------------------------------------------------------------ registering and signing in
    Fault(
        "registration-closed",
        _("This server lets nobody register by themselves ({how}): only clients that it knows already can connect."),
        _("Settings: OVAUTH_REGISTRATION=open; or add the client in /admin/ and give the app its client id."),
    ),
    Fault(
        "registration-refused",
        _("The registration is refused ({status} {why})."),
        _("See in the log of `serve` what is wrong with it; a firewall in front may refuse the POST to /register."),
    ),
    Fault(
        "registration-broken",
        _("The answer to the registration is not what clients read: {why}."),
        _("Nothing in front may rewrite it. If this is not ovauth, its maintainers have to mend it."),
    ),
    Fault(
        "documents-not-read",
        _("The server cannot read the document by which Claude introduces itself, {url} ({status})."),
        _(
            "The server reads it itself: let it reach claude.ai (DNS, and port 443 outwards), and admit that where "
            "OVAUTH_CIMD is a list of hosts.\n"
            "Or OVAUTH_CIMD=off: then Claude registers instead."
        ),
    ),
    Fault(
        "authorize-refused",
        _("/authorize does not lead to the code page: {why}."),
        _("Open the client's link in a browser: the page says what is wrong. The log of `serve` has its reference."),
    ),
    Fault(
        "login-refused",
        _("The login stops at {step}: {why}."),
        _("The log of `serve` tells why, under the X-Request-Id of the answer."),
    ),
    Fault(
        "key-unknown",
        _("The API key in OVAUTH_API_KEY is not known at {url} any more, or never was."),
        _(
            "Make a new one there (`uv run manage.py rotate_api_key NAME --account ACCOUNT`), or leave it out: then the "
            "way ends at the code page."
        ),
        fails=False,
    ),
    Fault(
        "token-lives-on",
        _("A token that was revoked is still let in at {url}."),
        _("A cache in front answers, or several databases are behind this name. Every node needs the same DATABASE_URL."),
    ),
    # ------------------------------------------------------------------ what the proxy does to requests
    Fault(
        "challenge-cached",
        _(
            "The 401 of /mcp comes from a cache ({how}): whoever has a token is turned away with the answer for "
            "those who have none."
        ),
        _("Switch caching off for /mcp. nginx: no `proxy_cache` there; a CDN: a bypass rule for everything but /static/."),
    ),
    Fault(
        "token-cached",
        _("The answer of /token comes from a cache ({how}): one person may get another's token."),
        _(
            "Switch caching off for everything but /static/ at once, and purge it. nginx: no `proxy_cache`; "
            "Cloudflare: no “Cache Everything”.\nThen end what was issued: /admin/, or revoke_user_tokens."
        ),
    ),
    Fault(
        "body-limit",
        _("A request of {size} to {path} does not reach ovauth ({how}); it takes up to {most}."),
        _(
            "Raise the limit. nginx: `client_max_body_size 4m;`; Caddy: `request_body {{ max_size 4MB }}`; a CDN: "
            "its upload limit."
        ),
        fails=False,
    ),
    Fault(
        "streams-buffered",
        _(
            "Event streams are held back: the first event came only with the last, {seconds} seconds late. "
            "Progress of a tool arrives when it is done, and long calls are cut."
        ),
        _(
            "nginx: `proxy_buffering off; proxy_read_timeout 1h;` in `location /mcp`; Caddy: `flush_interval -1`; "
            "no gzip of text/event-stream."
        ),
        fails=False,
    ),
    Fault(
        "head-refused",
        _("HEAD {path} is answered with {status}, where GET is answered with 200."),
        _("Pass HEAD on. nginx: no `limit_except GET POST`."),
        fails=False,
    ),
    Fault(
        "clock-differs",
        _("The clock of the server is {seconds} seconds {direction} the one of this computer."),
        _(
            "Switch time synchronisation on, on the one that is wrong: `timedatectl set-ntp true`.\n"
            "Clients that prove themselves by a signed assertion (ChatGPT) are refused at more than a minute."
        ),
        fails=False,
    ),
)

FAULTS: Final[Mapping[str, Fault]] = {fault.id: fault for fault in _CATALOGUE}
