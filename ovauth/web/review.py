"""What a person should know before deciding: who asks, where the answer goes, and what is odd about it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from ovauth import tools
from ovauth.flows import approval, blocking, connections
from ovauth.flows.authorization import Waiting
from ovauth.flows.blocking import Block
from ovauth.flows.connections import Connection
from ovauth.rules import browsers, display_text, known_apps, networks, origin, web_address
from ovauth.web.callers import Caller
from ovauth.web.public_origin import is_on_loopback

MOST_TOOLS: Final = 12
LONGEST_TOOL_NAME: Final = 40
LONGEST_SERVER_NAME: Final = 60

Place = Literal["web", "this computer", "app", "device"]


@dataclass(frozen=True, slots=True)
class Review:
    """A waiting request as its review shows it. `here`: the browser that began is the one that decides; `same_computer`: at
    least the computer is, since both came to this server on its own loopback address.

    `borrowed_name` is the well-known app whose name is used by somebody else's destination.
    """

    waiting: Waiting
    here: bool
    same_computer: bool
    place: Place
    other_network: bool
    borrowed_name: str | None

    @property
    def readable_host(self) -> str:
        """The destination with the letters that its owner uses, where the host's own form hides them."""
        return display_text.clean(web_address.as_people_write(self.waiting.destination)) if self.place == "web" else ""

    @property
    def is_odd(self) -> bool:
        """Whether a warning shows: then Approve looks no more inviting than Deny."""
        return self.other_network or self.borrowed_name is not None or self.place in ("this computer", "device")


def of(request: HttpRequest, waiting: Waiting, *, here: bool) -> Review:
    place = _place(waiting)
    return Review(
        waiting=waiting,
        here=here,
        same_computer=here or _is_same_computer(request, waiting),
        place=place,
        other_network=not networks.alike(waiting.ip, _ip(request)),
        borrowed_name=_borrowed_name(waiting, place),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """A scope that was asked for, as the person who decides may have it or leave it out."""

    name: str
    sentence: str
    allowed: bool
    ticked: bool
    new: bool = False
    """The app is connected already, and this was not among what it may do."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an approval is not taken as it was sent, and which field of the form is to blame."""

    about: Literal["certain", "scope"]
    sentence: str


def context(
    request: HttpRequest, review: Review, acts_as: Caller | None, *, fault: str = "", doubt: Doubt | None = None
) -> dict[str, Any]:
    """What `_review.html` wants. `acts_as` is who would be acted for, when somebody may decide."""
    earlier = _earlier(review.waiting, acts_as)
    offered = choices(request, review.waiting, acts_as, again=doubt is not None)
    blocked = _block(review.waiting, acts_as)
    if earlier is not None:
        offered = tuple(replace(choice, new=choice.name not in earlier.scopes) for choice in offered)
    return {
        "earlier": earlier,
        "blocked": blocked,
        "server": server_name(),
        "anything_new": any(choice.new and choice.allowed for choice in offered),
        "review": review,
        "acts_as": acts_as,
        "choices": offered,
        "tools": named_tools([choice.name for choice in offered if choice.allowed]),
        "may_choose": blocked is None and _may_choose(offered),
        "beyond_the_role": acts_as is not None and not any(choice.allowed for choice in offered),
        "fault": doubt.sentence if doubt else fault,
        "fault_about": doubt.about if doubt else "",
        "your_ip": _ip(request),
        "browser_name": browser_name(review.waiting.user_agent),
        "idle_days": max(1, settings.OVAUTH.refresh_token_ttl // 86400),
    }


def _earlier(waiting: Waiting, acts_as: Caller | None) -> Connection | None:
    if acts_as is None or acts_as.authority is None:
        return None
    return connections.earlier(member_pk=acts_as.authority.member_pk, pending_id=waiting.pending_id)


def _block(waiting: Waiting, acts_as: Caller | None) -> Block | None:
    """Why nothing can be approved for this app by whoever would decide."""
    if waiting.blocked_at is not None:
        return Block("everybody", "", waiting.blocked_at)
    if acts_as is None or acts_as.authority is None:
        return None
    return blocking.standing(member_pk=acts_as.authority.member_pk, client_id=waiting.client_id)


@dataclass(frozen=True, slots=True)
class NamedTools:
    """Tools as the page names them: the first few, cleaned, each with whether it may change things; how many more."""

    shown: tuple[tuple[str, bool], ...]
    more: int


def named_tools(held: Collection[str]) -> NamedTools | None:
    """The tools of the MCP server that somebody with these scopes can use; None when they cannot be told."""
    served = tools.served()
    if served is None or served.tools is None:
        return None
    usable = [tool for tool in served.tools if set(tool.scopes) <= set(held)]
    # Those that change things first: they must not be among the ones that are left out.
    usable.sort(key=lambda tool: not tool.changes_things)
    shown = tuple((display_text.clean(tool.name, LONGEST_TOOL_NAME), tool.changes_things) for tool in usable[:MOST_TOOLS])
    return NamedTools(shown, len(usable) - len(shown))


def server_name() -> str:
    """What the MCP server calls itself, as a page may say it; empty where nobody gave it a name."""
    found = tools.served()
    return display_text.clean(found.own_name, LONGEST_SERVER_NAME) if found else ""


def served() -> dict[str, Any] | None:
    """The MCP server by what it calls itself and by the name that its operator knows, with its tools and their number, None
    for both when they cannot be told, and its oddities."""
    found = tools.served()
    if found is None:
        return None
    return {
        "name": found.name,
        "own_name": server_name(),
        "count": None if found.tools is None else len(found.tools),
        "tools": named_tools(settings.OVAUTH.scope_names),
        "odd": found.odd,
    }


def choices(request: HttpRequest, waiting: Waiting, acts_as: Caller | None, *, again: bool = False) -> tuple[Choice, ...]:
    """What is asked for, all of it ticked; `again`: ticked as the form that was just sent."""
    held = acts_as.scopes if acts_as is not None else waiting.scopes
    ticked = request.POST.getlist("scope") if again else waiting.scopes
    return tuple(
        Choice(name, in_words(name, sentence), allowed=name in held, ticked=name in ticked)
        for name, sentence in zip(waiting.scopes, waiting.sentences, strict=True)
    )


def in_words(name: str, sentence: str) -> str:
    """The operator's own words in the reader's language, where there are some; else what the catalogue may translate."""
    own = {scope.name: scope.chinese for scope in settings.OVAUTH.scopes}.get(name)
    return own if own and (get_language() or "").startswith("zh") else sentence


def chosen(request: HttpRequest, waiting: Waiting, acts_as: Caller) -> list[str] | None:
    """The scopes that stayed ticked; None where there was nothing to choose from."""
    return request.POST.getlist("scope") if _may_choose(choices(request, waiting, acts_as)) else None


def _may_choose(offered: tuple[Choice, ...]) -> bool:
    return sum(choice.allowed for choice in offered) > 1


def doubt(request: HttpRequest, review: Review, acts_as: Caller) -> Doubt | None:
    """Why the approval that was sent should be looked at again: a borrowed name is approved by somebody who has ticked
    that they mean it, and of the scopes one stays."""
    kept = chosen(request, review.waiting, acts_as)
    if kept is not None and not set(kept) & set(review.waiting.scopes) & set(acts_as.scopes):
        return Doubt("scope", approval.NOTHING_CHOSEN)
    if review.borrowed_name and request.POST.get("certain") != "yes":
        return Doubt("certain", "Tick the box if you are certain, or choose Deny.")
    return None


def browser_name(user_agent: str) -> str:
    """“Chrome on Windows”, in the language of the page."""
    browser, on, system = browsers.name(user_agent).partition(" on ")
    return _("%(browser)s on %(system)s") % {"browser": browser, "system": system} if on else browser


def _is_same_computer(request: HttpRequest, waiting: Waiting) -> bool:
    both = (waiting.ip, _ip(request))
    return is_on_loopback(request) and all(origin.is_loopback_address(address) for address in both)


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
