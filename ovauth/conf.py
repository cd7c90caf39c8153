"""The environment and `.env`, read once, into one frozen and validated Config. Wrong values refuse to start, and say why.

The only reader of the environment. Everybody else asks `django.conf.settings.OVAUTH`, which holds the Config.
"""

import json
import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ovauth import credentials
from ovauth.roles import Role
from ovauth.rules import client_documents, origin, scope_settings, upstream

VERSION: Final = "0.1.0"
SHARED_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"

LONGEST_SHOWN: Final = 100
"""Characters of a wrong value that are repeated."""

Network = IPv4Network | IPv6Network
Seconds = Annotated[int, Field(ge=1)]
SHORTEST_SECRET_KEY: Final = 32


class Misconfigured(Exception):
    """A setting that ovauth cannot start with. The message names the variable, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope as the operator configures it: its sentence for people, and the lowest role that may hold it.

    `chinese` is the sentence in Chinese; empty: as the catalogue has it, or else the sentence itself.
    """

    name: str
    sentence: str
    lowest_role: Role
    chinese: str = ""


BUNDLED_SERVER: Final = "ovauth.resource.example:server"
_OWN_SCOPES: Final = (Scope("mcp", "use its tools as you", Role.USER),)
_BUNDLED_SCOPES: Final = (
    *_OWN_SCOPES,
    Scope("fs", "read and write files through its tools", Role.USER),
    Scope("admin", "use its administrative tools", Role.ADMIN),
)


class Config(BaseSettings):
    """One field for each setting."""

    model_config = SettingsConfigDict(
        env_prefix="OVAUTH_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    _mask_wrapped: ClassVar[bool] = True
    """Django's settings look for it at every access, and pydantic takes long to say that it has none."""

    data_dir: Path = Field(
        Path("data"),
        description="the folder of the database file and of the generated secret key; created with mode 700",
        json_schema_extra={"shown": "`./data`"},
    )
    database_url: str | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="`postgres://user:password@host/name` for more than one machine",
        json_schema_extra={"shown": "SQLite in the data folder"},
    )
    secret_key: SecretStr | None = Field(
        None,
        description="the secret key in place of the file in the data folder, the same on every machine; several, by commas "
        "or lines: the first signs, the others verify; see [rotating it](operating.md#the-secret-key-and-rotating-it)",
        json_schema_extra={"shown": "`secret_key` in the data folder"},
    )
    public_base_url: str | None = Field(
        None,
        description="the public origin, such as `https://ov.example.com`; first of the [four levels](#the-public-origin)",
    )
    issuer: str | None = Field(None, description="the issuer, which may have a path; second of the four levels")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="addresses and networks, separated by commas, whose `X-Forwarded-*` headers count",
        json_schema_extra={"shown": "loopback only"},
    )
    enabled: bool = Field(
        True, description="`false`: no OAuth route answers, no `ovat_` token is looked at, API keys alone"
    )
    access_token_ttl: Seconds = Field(
        3600, description="life of an access token; the admin can set another one for a client"
    )
    refresh_token_ttl: Seconds = Field(2_592_000, description="life of a refresh token without use")
    auth_code_ttl: Seconds = Field(300, description="life of an authorization code")
    pending_ttl: Seconds = Field(600, description="how long a code page waits for a decision")
    otp_ttl: Seconds = Field(300, description="life of a one-time password")
    refresh_grace: Annotated[int, Field(ge=0)] = Field(
        60, description="how long a used refresh token is answered again in any case"
    )
    replay_revokes: Literal["user", "grant"] = Field(
        "user",
        description="how far the replay of a refresh token reaches: everything of that `user`, or that `grant`",
    )
    registration: Literal["open", "token", "off"] = Field(
        "open",
        description="who may register clients: everybody (`open`), holders of the API key of an admin or root (`token`), "
        "nobody (`off`)",
    )
    cimd: Annotated[Literal["on", "off"] | tuple[str, ...], NoDecode] = Field(
        "on",
        description="clients whose id is the URL of a document that describes them: all (`on`), none (`off`), or those on "
        "the hosts of a comma-separated list; see [below](#clients-described-by-a-document)",
    )
    log: Literal["auto", "console", "json"] = Field(
        "auto", description="how `serve` writes its log; `auto`: `json`, and for somebody at a terminal the story instead"
    )
    audit_days: Annotated[int, Field(ge=1)] = Field(400, description="days that audit events are kept")
    mcp_server: str = Field(
        BUNDLED_SERVER,
        description="import path `module:attribute` of the MCP server object served at `/mcp`",
    )
    upstream_mcp_url: str | None = Field(
        None,
        description="instead of a Python object: the MCP server at this URL is served at `/mcp`; see "
        "[your own MCP server](your-server.md#a-server-that-runs-elsewhere)",
    )
    upstream_api_key: SecretStr | None = Field(
        None, description="the upstream's own key; a client's token is never passed on"
    )
    upstream_header: str = Field(
        "Authorization: Bearer", description="how that key is sent: `Name: Scheme`, or a name alone such as `X-Api-Key`"
    )
    scopes: Annotated[tuple[Scope, ...], NoDecode] = Field(
        (),
        validate_default=True,
        description="the scopes, one in each line, each with what people read about it; see [below](#scopes)",
        json_schema_extra={"shown": "`mcp`; of the bundled example `mcp`, `fs`, `admin`"},
    )
    default_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validate_default=True,
        description="what a client gets that asks for nothing, separated by spaces",
        json_schema_extra={"shown": "the first of `OVAUTH_SCOPES`"},
    )

    notify_socket: str | None = Field(None, validation_alias="NOTIFY_SOCKET", exclude=True)
    """Where systemd listens (sd_notify), if it started this."""
    api_key: SecretStr | None = Field(None, exclude=True)
    """Of the command `otp`: whose password it asks for."""

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("secret_key", mode="after")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        keys = _separated(value)
        if value is not None and (not keys or min(map(len, keys)) < SHORTEST_SECRET_KEY):
            raise ValueError(
                f"each key needs at least {SHORTEST_SECRET_KEY} characters; "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(48))' makes one"
            )
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
        return value

    @field_validator("cimd", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if (word := value.strip().lower()) in ("on", "off"):
            return word
        hosts = tuple(part.strip() for part in word.split(",") if part.strip())
        for host in hosts:
            if (why := client_documents.why_not_host(host)) is not None:
                raise ValueError(f"write on, off, or a list of hosts; “{host}” is none: {why}")
        return hosts

    @field_validator("mcp_server", mode="after")
    @classmethod
    def _import_path(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", value):
            raise ValueError("write module:object, such as notes.app:mcp")
        return value

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes(cls, value: Any, info: Any) -> Any:
        if value == ():
            is_bundled = info.data.get("mcp_server") == BUNDLED_SERVER and info.data.get("upstream_mcp_url") is None
            return _BUNDLED_SCOPES if is_bundled else _OWN_SCOPES
        if not isinstance(value, str):
            return value
        written = scope_settings.read(value, roles=[role.label for role in Role], lowest=Role.USER.label)
        return tuple(Scope(scope.name, scope.sentence, Role.named(scope.role), scope.chinese) for scope in written)

    @field_validator("default_scopes", mode="before")
    @classmethod
    def _defaults(cls, value: Any, info: Any) -> Any:
        known = [scope.name for scope in info.data.get("scopes", ())]  # none: what is wrong with those is said already
        if not known:
            return ()
        return scope_settings.read_defaults(value, known=known) if isinstance(value, str) else value or (known[0],)

    @field_validator("public_base_url", "issuer", mode="after")
    @classmethod
    def _base(cls, value: str | None, info: Any) -> str | None:
        if value is not None and (why := origin.why_not_base(value, path_allowed=info.field_name == "issuer")):
            raise ValueError(why)
        return value

    @field_validator("upstream_mcp_url", mode="after")
    @classmethod
    def _upstream(cls, value: str | None, info: Any) -> str | None:
        if value is not None and (why := upstream.why_not_url(value)):
            raise ValueError(why)
        if value is not None and info.data.get("mcp_server") not in (None, BUNDLED_SERVER):
            raise ValueError("unset it, or unset OVAUTH_MCP_SERVER, which names a server too")
        return value

    @field_validator("upstream_api_key", mode="after")
    @classmethod
    def _upstream_key(cls, value: SecretStr | None, info: Any) -> SecretStr | None:
        if value is not None and (why := upstream.why_not_key(value.get_secret_value())):
            raise ValueError(why)
        if value is not None and info.data.get("upstream_mcp_url", "") is None:
            raise ValueError("there is no upstream to send it to; set OVAUTH_UPSTREAM_MCP_URL")
        return value

    @field_validator("upstream_header", mode="after")
    @classmethod
    def _upstream_header(cls, value: str) -> str:
        if why := upstream.why_not_header(value):
            raise ValueError(why)
        return value

    @property
    def scope_names(self) -> tuple[str, ...]:
        return tuple(scope.name for scope in self.scopes)

    @property
    def lowest_roles(self) -> dict[str, int]:
        return {scope.name: scope.lowest_role for scope in self.scopes}

    def admits_documents_of(self, host: str) -> bool:
        """Whether clients may be described by documents of that host (`host` or `host:port`, in lower case)."""
        return self.cimd == "on" or (self.cimd != "off" and host in self.cimd)

    def resources(self, issuer: str) -> tuple[str, ...]:
        """The canonical resource identifiers (RFC 8707) of this server at that issuer; the first is the default."""
        return (f"{issuer}/mcp",)

    @property
    def database_path(self) -> Path:
        return self.data_dir / "ovauth.sqlite3"

    @property
    def secret_key_path(self) -> Path:
        return self.data_dir / "secret_key"


SETTINGS: Final = {name: field for name, field in Config.model_fields.items() if field.exclude is not True}
"""The documented settings, by field name."""


def variable(name: str) -> str:
    """The environment variable of a field of Config."""
    return str(Config.model_fields[name].validation_alias or f"OVAUTH_{name.upper()}")


def share_metrics(folder: Path | None) -> None:
    """Processes that are started from now on count together in that folder. To be said before prometheus_client is
    imported, which reads it from the environment."""
    os.environ.pop(SHARED_METRICS, None)
    if folder is not None:
        os.environ[SHARED_METRICS] = str(folder)


def shared_metrics() -> Path | None:
    """The folder in which this process counts together with others."""
    shared = os.environ.get(SHARED_METRICS)
    return Path(shared) if shared else None


def terminal_language() -> str:
    """The language of whoever reads the terminal, as gettext takes it from the environment; `en` when it is none of ours.

    LANGUAGE is a list, the others name a locale. The locale C asks for English, whatever LANGUAGE says.
    """
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    if re.match(r"(C|POSIX)(\.|$)", locale):
        return "en"
    for asked in [*os.environ.get("LANGUAGE", "").split(":"), locale]:
        if language := re.match(r"(zh|en)(?![a-z])", asked.lower()):
            return "zh-hans" if language[1] == "zh" else "en"
    return "en"


def fingerprint(config: Config) -> str:
    """A short hash of the settings in effect: two servers that say the same have the same. No secret is in it."""
    told = config.model_dump(mode="json", include=set(SETTINGS) - {"database_url", "secret_key"})
    if config.database_url:
        told["database"] = urlsplit(config.database_url).hostname
    return credentials.digest(json.dumps(told, sort_keys=True)).hex()[:16]


SECRET: Final = frozenset(
    {variable(name) for name in ("database_url", "secret_key", "api_key", "upstream_api_key", "upstream_mcp_url")}
)
"""Variables whose values are never repeated: two are URLs, which may hold a password or a key."""


def load() -> Config:
    """The configuration of this process. Raises Misconfigured with one sentence per wrong value."""
    try:
        return Config()
    except ValidationError as invalid:
        raise Misconfigured("\n".join(_sentence(error) for error in invalid.errors())) from None


def _sentence(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    field = name if name in Config.model_fields else name.removeprefix("OVAUTH_").lower()
    shown = variable(field) if field in Config.model_fields else name
    said = "its value" if shown in SECRET else f"“{_shortened(error['input'])}”"
    why = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{shown}: {said} cannot be used: {why[:1].lower()}{why[1:]}."


def _shortened(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def secret_keys(config: Config) -> tuple[list[str], bool]:
    """The keys of the environment, or the lines of `secret_key` in the data folder (the first signs, the others verify),
    and whether the file is new.

    Creates folder (mode 700) and, without a key in the environment, file (mode 600) where they are missing. Raises
    Misconfigured if that is impossible.
    """
    path = config.secret_key_path
    keys, created = _separated(config.secret_key), False
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not keys:
            created = _create_once(path, credentials.secret_key())
            keys = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise Misconfigured(
            f"The data folder {config.data_dir} cannot be used ({error.strerror}). "
            "Make it writable, or point OVAUTH_DATA_DIR to another folder."
        ) from None
    if not keys:
        raise Misconfigured(f"{path} is empty. Remove it, and a new key is made at the next start.")
    return keys, created


def _separated(keys: SecretStr | None) -> list[str]:
    text = keys.get_secret_value() if keys is not None else ""
    return [key.strip() for key in re.split(r"[,\n]", text) if key.strip()]


def _create_once(path: Path, text: str) -> bool:
    """Writes the file unless it exists. A reader never sees half of it, and one of several starters wins."""
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
