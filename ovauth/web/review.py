"""What a person should know before deciding: who asks, where the answer goes, and what is odd about it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from ovauth.errors import InvalidRequest
from ovauth.flows.authorization import Waiting
from ovauth.rules import known_apps, networks
from ovauth.web.callers import Caller

Place = Literal["web", "this computer", "app", "device"]

# The more particular first: Edge and Opera call themselves Chrome too, and Chrome calls itself Safari.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Review:
    """A waiting request as its review shows it. `here`: the browser that began is the one that decides.

    `borrowed_name` is the well-known app whose name is used by somebody else's destination.
    """

    waiting: Waiting
    here: bool
    place: Place
    other_network: bool
    borrowed_name: str | None

    @property
    def is_odd(self) -> bool:
        """Whether a warning shows: then Approve looks no more inviting than Deny."""
        return self.other_network or self.borrowed_name is not None or self.place in ("this computer", "device")


def of(request: HttpRequest, waiting: Waiting, *, here: bool) -> Review:
    place = _place(waiting)
    return Review(
        waiting=waiting,
        here=here,
        place=place,
        other_network=not networks.alike(waiting.ip, _ip(request)),
        borrowed_name=_borrowed_name(waiting, place),
    )


def context(request: HttpRequest, review: Review, acts_as: Caller | None, *, fault: str = "") -> dict[str, Any]:
    """What `_review.html` wants. `acts_as` is who would be acted for, when somebody may decide."""
    return {
        "review": review,
        "acts_as": acts_as,
        "fault": fault,
        "your_ip": _ip(request),
        "just_now": timezone.now() - review.waiting.created_at < timedelta(minutes=1),
        "browser_name": browser_name(review.waiting.user_agent),
        "idle_days": max(1, settings.OVAUTH.refresh_token_ttl // 86400),
    }


def require_certainty(request: HttpRequest, review: Review) -> None:
    """A borrowed name is approved by somebody who has ticked that they mean it. Raises InvalidRequest."""
    if review.borrowed_name and request.POST.get("certain") != "yes":
        raise InvalidRequest("Tick the box if you are certain, or choose Deny.")


def browser_name(user_agent: str) -> str:
    """“Chrome on Windows” out of a User-Agent header; empty for a program that is no browser."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else browser


def _place(waiting: Waiting) -> Place:
    if waiting.is_device or not waiting.destination:
        return "device"
    if waiting.is_loopback:
        return "this computer"
    return "app" if waiting.destination.endswith((":", "://")) else "web"


def _borrowed_name(waiting: Waiting, place: Place) -> str | None:
    """Judged by the destination as the page names it, since that is what people compare the name with."""
    match place:
        case "web":
            return known_apps.claimed_app(waiting.client_name, f"https://{waiting.destination}/")
        case "app":
            slash = "app/" if waiting.destination.endswith("/") else "/"
            return known_apps.claimed_app(waiting.client_name, waiting.destination + slash)
    return None


def _ip(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
