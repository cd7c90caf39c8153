"""Clients that are known by a document at their own address: what it says, and what they send, as public sources tell.

`{self}` stands for the address of the document, `{keys}` for that of its keys.
"""

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class Document:
    """`says`: the document beside its `client_id`. `redirect_uri`: the one that is sent, where it is not the first of the
    document. `authorize`: what is sent beside the usual parameters."""

    sources: tuple[str, ...]
    says: dict[str, Any]
    redirect_uri: str
    authorize: dict[str, str] = field(default_factory=dict)

    @property
    def signs(self) -> bool:
        return self.says["token_endpoint_auth_method"] == "private_key_jwt"


_GRANTS: Final = {"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}

DOCUMENTS: Final[dict[str, Document]] = {
    "claude-web": Document(
        sources=(
            "https://github.com/anthropics/claude-ai-mcp/issues/96 (its request: a blank before offline_access, prompt)",
            "https://github.com/anthropics/claude-ai-mcp/issues/518 (the address of the document)",
            "https://github.com/Altinity/altinity-mcp/pull/119 (a public client)",
        ),
        says={
            "client_name": "Claude",
            "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
            "token_endpoint_auth_method": "none",
            **_GRANTS,
        },
        redirect_uri="https://claude.ai/api/mcp/auth_callback",
        authorize={"scope": " offline_access", "prompt": "consent"},
    ),
    "claude-code": Document(
        sources=(
            "https://github.com/anthropics/claude-code/issues/41011 (its redirect URIs, and another port at /authorize)",
            "https://github.com/anthropics/claude-code/issues/37747 (no application_type)",
        ),
        says={
            "client_name": "Claude Code",
            "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "none",
            **_GRANTS,
        },
        redirect_uri="http://localhost:60351/callback",
        authorize={"scope": "mcp offline_access"},
    ),
    "chatgpt": Document(
        sources=(
            "https://github.com/Altinity/altinity-mcp/issues/118 (the document of an app of its own)",
            "https://github.com/django-oauth/django-oauth-toolkit/issues/1845 (the document of all, with its two methods)",
        ),
        says={
            "client_uri": "https://chatgpt.com/",
            "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
            "client_name": "ChatGPT",
            "logo_uri": "https://persistent.oaistatic.com/sonic/misc/openai-logo.png",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "token_endpoint_auth_signing_alg": "RS256",
            "jwks_uri": "{keys}",
            **_GRANTS,
        },
        redirect_uri="https://chatgpt.com/connector_platform_oauth_redirect",
        authorize={"scope": "mcp offline_access"},
    ),
    "vscode": Document(
        sources=(
            "https://github.com/microsoft/vscode/issues/270811 (that it does)",
            "https://github.com/microsoft/vscode/issues/298300 (where its document is; more is not quoted)",
            "https://github.com/microsoft/vscode/blob/main/src/vs/base/common/oauth.ts (its redirect URIs)",
        ),
        says={
            "client_name": "Visual Studio Code",
            "client_uri": "https://code.visualstudio.com",
            "redirect_uris": ["https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            **_GRANTS,
        },
        redirect_uri="http://127.0.0.1:59656/",
        authorize={"scope": "openid profile mcp"},
    ),
    "opencode": Document(
        sources=("https://github.com/anomalyco/opencode/pull/47737 (the whole document)",),
        says={
            "client_name": "opencode",
            "client_uri": "https://opencode.ai",
            "logo_uri": "https://opencode.ai/web-app-manifest-512x512.png",
            "application_type": "native",
            "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"],
            "token_endpoint_auth_method": "none",
            "token_endpoint_auth_methods_supported": ["none"],
            **_GRANTS,
        },
        redirect_uri="http://127.0.0.1:19876/callback",
    ),
}
