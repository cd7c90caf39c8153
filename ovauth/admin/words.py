"""What models and flows say in English, in the language of the page."""

from typing import Final

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

SAID: Final = (
    # the state of what was issued
    _("works"),
    _("used"),
    _("revoked"),
    _("expired"),
    _("approved"),
    _("connected"),
    _("waits for the app"),
    _("waits for a decision"),
    _("Approved"),
    _("Denied"),
    _("a browser, OAuth 2.1 §4.1"),
    _("a device, RFC 8628"),
    # Grant.why_dead
    _("the grant was revoked"),
    _("the client is blocked"),
    _("the user is deactivated"),
    _("the user's role dropped below that of the approval"),
    _("the API key that authorized it is gone"),
    _("the client is no longer bound to this user"),
    _("the password changed since the approval"),
    # why flows end a grant
    _("API key rotated"),
    _("API key revoked"),
    _("role lowered"),
    _("user deactivated"),
    _("code replayed"),
    _("refresh token replayed"),
    _("blocked: nobody here started its request"),
    _("approved again with less"),
    _("disconnected by its owner"),
    _("disconnected by an administrator"),
    _("revoked by the client"),
    _("revoked by an operator"),
    _("the database was restored"),
    _("issued since a moment that an operator named"),
    # where a client comes from
    _("registered itself"),
    _("made by an operator"),
    _("described by its own document"),
)


def said(text: str) -> str:
    """The same in the language of the page; as it is, where it has no translation."""
    return gettext(text) if text else ""
