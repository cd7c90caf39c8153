"""The page that tells why an app did not connect: each attempt with the step where it ended."""

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from ovauth.flows import attempts
from ovauth.flows.attempts import Attempt
from ovauth.web import callers
from ovauth.web.console import authority_of, signed_in

LONGEST_REFERENCE: Final = 64
LABELS: Final = {
    "registered": _("Registered"),
    "asked": _("Asked for access"),
    "approved": _("Approved"),
    "token": _("Fetched its tokens"),
    "called": _("First call"),
}
ENDED: Final = {
    "link": ("asked", _("Its link was refused. Nothing was shared.")),
    "denied": ("approved", _("It was denied. Nothing was shared.")),
    "blocked": ("approved", _("The app is blocked, so nothing can be approved for it. The operator can unblock it.")),
    "blocked link": ("asked", _("The app is blocked, so its link was refused. The operator can unblock it.")),
    "expired": ("approved", _("Nobody approved it in time. Nothing was shared.")),
    "token": ("token", _("It was approved, and then the code that it brought was refused.")),
    "fetched": ("token", _("It was approved, and never fetched its tokens.")),
}
"""At which step an attempt went no further, and what a person reads about it."""
SO_FAR: Final = {
    "registered": _("It is registered, and has not asked for access yet."),
    "asked": _("It waits for your approval."),
    "approved": _("It is approved, and has not fetched its tokens yet."),
    "token": _("It is connected, and has not called yet."),
    "called": _("It is connected, and has called."),
}


@dataclass(frozen=True, slots=True)
class Row:
    """`steps` are labels, each with done, ended or nothing."""

    attempt: Attempt
    steps: tuple[tuple[str | Promise, str], ...]
    sentence: str | Promise


@require_safe
@signed_in
def attempts_page(request: HttpRequest) -> HttpResponse:
    caller = callers.of_session(request)
    reference = request.GET.get("reference", "").strip()[:LONGEST_REFERENCE]
    found = attempts.by_reference(reference)
    told = attempts.recent(
        member_pk=authority_of(request).member_pk,
        sign_in_name=f"{caller.account_id}/{caller.user_id}",
        ip=request.META.get("REMOTE_ADDR", ""),
    )
    context = {
        "reference": reference,
        "found": row(found) if found else None,
        "attempts": [row(attempt) for attempt in told],
    }
    return render(request, "ovauth/attempts.html", context)


def row(attempt: Attempt) -> Row:
    ended_at, sentence = ENDED.get(attempt.ended, ("", ""))
    if not attempt.ended:
        sentence = SO_FAR[attempt.passed[-1]]
    states = dict.fromkeys(attempt.passed, "done") | ({ended_at: "ended"} if ended_at else {})
    return Row(attempt, tuple((label, states.get(name, "")) for name, label in LABELS.items()), sentence)
