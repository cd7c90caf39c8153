"""The family of refusals: everything that ovauth answers instead of what was asked.

    Refusal
    ├── OAuthRefusal                      RFC 6749 §5.2 and its extensions
    │   ├── InvalidRequest                400, may travel by redirect
    │   ├── InvalidClient                 401
    │   ├── InvalidGrant                  400
    │   ├── UnauthorizedClient            400, may travel by redirect
    │   ├── UnsupportedGrantType          400
    │   ├── UnsupportedResponseType       400, may travel by redirect
    │   ├── InvalidScope                  400, may travel by redirect
    │   ├── InvalidTarget                 400, may travel by redirect (RFC 8707 §2)
    │   ├── AccessDenied                  400, may travel by redirect
    │   ├── AuthorizationPending          400 (RFC 8628 §3.5)
    │   ├── SlowDown                      400 (RFC 8628 §3.5)
    │   ├── ExpiredToken                  400 (RFC 8628 §3.5)
    │   ├── InvalidRedirectUri            400 (RFC 7591 §3.2.2)
    │   ├── InvalidClientMetadata         400 (RFC 7591 §3.2.2)
    │   ├── InvalidToken                  401 (RFC 6750 §3.1)
    │   └── InsufficientScope             403 (RFC 6750 §3.1)
    ├── UntrustedRedirect                 400, a page and never a redirect (RFC 9700 §4.11)
    ├── Unauthenticated                   401
    ├── Forbidden                         403
    ├── NotFound                          404
    ├── NotAllowed                        405
    ├── Conflict                          409
    ├── Gone                              410
    ├── TooSlow                           408
    ├── TooLarge                          413
    ├── UnsupportedMediaType              415
    ├── TooManyRequests                   429, with the seconds after which to try again
    ├── Unavailable                       503, may travel by redirect
    └── ServerFault                       500, the one that is our fault

A refusal has two faces. The `description` is poor and leaves the house; the `reason` is rich and stays in the log.
`ovauth.web.faults` is the only place where one becomes HTTP.
"""

import re
from datetime import datetime
from typing import ClassVar, Final

_PLAIN: Final = str.maketrans({"“": "'", "”": "'", "‘": "'", "’": "'", '"': "'", "\\": "/", "–": "-", "…": "..."})
_UNSPEAKABLE: Final = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")


BLOCKED_CLIENT: Final = "blocked client"
"""The `reason` of whatever is refused because its app is blocked: what a person can do then is another thing."""


class Refusal(Exception):
    """Something was asked that ovauth does not do.

    `description` is for whoever asked: no secret, nothing about other people's data. `reason` is for the log.
    """

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 400
    may_redirect: ClassVar[bool] = False
    """Whether the client learns of it by a redirect from the authorization endpoint."""
    default: ClassVar[str] = "The request is not valid."

    def __init__(self, description: str = "", *, reason: str = "") -> None:
        self.description = description or self.default
        self.reason = reason or self.description
        super().__init__(self.reason)

    @property
    def spoken(self) -> str:
        """The description in the characters that `error_description` may have (RFC 6749 §4.1.2.1 and §5.2)."""
        return _UNSPEAKABLE.sub("?", self.description.translate(_PLAIN))[:300]


class OAuthRefusal(Refusal):
    """A refusal that RFC 6749 or one of its extensions has a word for."""


class InvalidRequest(OAuthRefusal):
    may_redirect = True


class InvalidClient(OAuthRefusal):
    code = "invalid_client"
    status = 401
    default = "The client is unknown or its authentication failed."


class InvalidGrant(OAuthRefusal):
    code = "invalid_grant"
    default = "The grant is invalid, expired, revoked or was issued to another client."


class UnauthorizedClient(OAuthRefusal):
    code = "unauthorized_client"
    may_redirect = True
    default = "The client may not use this grant type."


class UnsupportedGrantType(OAuthRefusal):
    code = "unsupported_grant_type"
    default = "This grant type is not supported."


class UnsupportedResponseType(OAuthRefusal):
    code = "unsupported_response_type"
    may_redirect = True
    default = "Only the response type code is supported."


class InvalidScope(OAuthRefusal):
    code = "invalid_scope"
    may_redirect = True
    default = "None of the requested scopes is known here."


class InvalidTarget(OAuthRefusal):
    code = "invalid_target"
    may_redirect = True
    default = "The requested resource is not served here."


class AccessDenied(OAuthRefusal):
    code = "access_denied"
    may_redirect = True
    default = "The person denied the request."


class AuthorizationPending(OAuthRefusal):
    code = "authorization_pending"
    default = "The person has not decided yet."


class SlowDown(OAuthRefusal):
    code = "slow_down"
    default = "Ask less often: wait five seconds longer than before."


class ExpiredToken(OAuthRefusal):
    code = "expired_token"
    default = "The device code has expired. Begin again."


class InvalidRedirectUri(OAuthRefusal):
    code = "invalid_redirect_uri"
    default = "A redirect URI is not acceptable."


class InvalidClientMetadata(OAuthRefusal):
    code = "invalid_client_metadata"
    default = "The client metadata is not acceptable."


class InvalidToken(OAuthRefusal):
    code = "invalid_token"
    status = 401
    default = "The token is unknown, expired or revoked."


class InsufficientScope(OAuthRefusal):
    """The token is good, its scope is not; `required` is everything that the operation needs."""

    code = "insufficient_scope"
    status = 403

    def __init__(self, required: tuple[str, ...]) -> None:
        self.required = required
        super().__init__(f"This needs the scope {' '.join(required)}.")


class UntrustedRedirect(Refusal):
    """The client or its redirect URI is not proven: the one address we must not answer to is the one under suspicion."""

    def __init__(self, description: str, *, reason: str = "", asked: str = "", registered: tuple[str, ...] = ()) -> None:
        self.asked = asked
        self.registered = registered
        super().__init__(description, reason=reason)


class Unauthenticated(Refusal):
    code = "unauthenticated"
    status = 401
    default = "Send an API key, or sign in."


class Forbidden(Refusal):
    code = "forbidden"
    status = 403
    default = "This is not allowed."


class NotFound(Refusal):
    code = "not_found"
    status = 404
    default = "There is nothing here."


class NotAllowed(Refusal):
    code = "method_not_allowed"
    status = 405
    default = "This method is not allowed here."


class Conflict(Refusal):
    """The first decision stands: which it was, when, and whether it is known to be that of whoever asks now."""

    code = "conflict"
    status = 409
    default = "This was already decided."

    def __init__(
        self,
        description: str = "",
        *,
        reason: str = "",
        decision: str = "",
        at: datetime | None = None,
        yours: bool = False,
    ) -> None:
        self.decision, self.at, self.yours = decision, at, yours
        super().__init__(description, reason=reason)


class Gone(Refusal):
    code = "expired"
    status = 410
    default = "This request has expired."


class TooSlow(Refusal):
    code = "invalid_request"
    status = 408
    default = "The request took too long to arrive."


class TooLarge(Refusal):
    code = "invalid_request"
    status = 413
    default = "The request is too large."


class UnsupportedMediaType(Refusal):
    code = "invalid_request"
    status = 415
    default = "The content type is not supported here."


class TooManyRequests(Refusal):
    """`retry_after` is in seconds."""

    code = "too_many_requests"
    status = 429
    default = "Too many attempts. Try again later."

    def __init__(self, retry_after: int, description: str = "", *, reason: str = "") -> None:
        self.retry_after = max(1, retry_after)
        super().__init__(description, reason=reason)


class Unavailable(Refusal):
    code = "temporarily_unavailable"
    status = 503
    may_redirect = True
    retry_after = 5
    default = "The service cannot do this right now. Try again in a moment."


class ServerFault(Refusal):
    """Something went wrong on our side, or in the MCP server. The client is told no more than that."""

    code = "server_error"
    status = 500
    default = "Something went wrong on our side."
