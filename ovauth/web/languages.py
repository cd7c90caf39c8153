"""In which language a page speaks: as the person chose, else as the app asked for this request (`ui_locales` of OpenID
Connect Core §3.1.2.1), else as the browser prefers.

Only pages are translated. What programs read stays English, whoever asks.
"""

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, get_language_from_request, get_supported_language_variant, to_locale
from django.views.decorators.http import require_safe

ASKED_COOKIE: Final = "ovauth_asked_language"
"""`<pending id>:<language>`: what an app asked for, for the pages of that request."""
MOST_TAGS: Final = 10


def of(request: HttpRequest) -> str:
    """The language of a page, as Django names it: `zh-hans`."""
    chosen = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "")
    if chosen in dict(settings.LANGUAGES):
        return chosen
    return _asked_by_the_app(request) or get_language_from_request(request)


def tag(language: str) -> str:
    """The same as BCP 47 spells it: `zh-Hans`."""
    return to_locale(language).replace("_", "-")


def tags() -> list[str]:
    return [tag(language) for language, _ in settings.LANGUAGES]


def remember(response: HttpResponse, *, pending_id: str, ui_locales: str | None) -> None:
    """Keeps what an app asked for, in the browser: the first of its tags that is spoken here counts."""
    for asked in (ui_locales or "").split()[:MOST_TAGS]:
        try:
            language = get_supported_language_variant(asked.lower())
        except LookupError:
            continue
        kept = f"{pending_id}:{language}"
        response.set_cookie(ASKED_COOKIE, kept, max_age=settings.OVAUTH.pending_ttl, httponly=True, samesite="Lax")
        return


def _asked_by_the_app(request: HttpRequest) -> str | None:
    """For the code page, and for the sign-in page that goes on to it: both have the pending id in their address."""
    pending_id, _, language = request.COOKIES.get(ASKED_COOKIE, "").partition(":")
    if pending_id and pending_id in request.META.get("QUERY_STRING", "") and language in dict(settings.LANGUAGES):
        return language
    return None


@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    """The switch in the footer. A GET, so that it also works on pages that have no CSRF token: it changes only words."""
    # A page whose address a stranger wrote does not repeat it; the browser knows where it came from.
    following = request.GET.get("next") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(following, {request.get_host()}, require_https=request.is_secure()):
        following = reverse("console")
    response = HttpResponseRedirect(following)
    response.status_code = 303
    if (language := request.GET.get("language")) in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME, language, max_age=settings.LANGUAGE_COOKIE_AGE, httponly=True, samesite="Lax"
        )
    return response


def _with_our_query() -> tuple[str, str]:
    return reverse("code_page"), reverse("console_login")


def _shown_again() -> tuple[str, ...]:
    """The pages whose form answers at the page's own address: there a GET shows the form again."""
    names = ("console_verify", "console_password", "console_keys", "console_otp", "console_logout")
    return *_with_our_query(), *map(reverse, names)


def _this_page(request: HttpRequest) -> str:
    """Where the switch comes back to. The query of a link is a stranger's, and is not repeated, but on the two pages whose
    query we write ourselves; nothing stands for the address that the browser came from."""
    if request.path == reverse("oauth:authorize"):
        return ""
    if request.method not in ("GET", "HEAD") and request.path not in _shown_again():
        return reverse("console")
    return request.get_full_path() if request.path in _with_our_query() else request.path


def for_templates(request: HttpRequest) -> dict[str, Any]:
    """What the frame of every page wants. What is shown once has no switch: it could not be shown again."""
    current = get_language() or settings.LANGUAGE_CODE
    has_switch = request.method in ("GET", "HEAD") or request.path != reverse("oauth:authorize")
    others = [(language, tag(language), name) for language, name in settings.LANGUAGES if language != current]
    return {
        "language_tag": tag(current),
        "other_languages": others if has_switch else [],
        "this_page": _this_page(request),
        "oauth_enabled": settings.OVAUTH.enabled,
    }
