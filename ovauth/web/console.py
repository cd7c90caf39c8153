"""The console: where a person signs in, confirms a code, and sees which apps can act as them.

Whatever changes something is POST → 303 → GET.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ovauth import wire
from ovauth.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from ovauth.flows import accounts, approval, blocking, connections, progress, sign_in
from ovauth.flows.authority import Authority
from ovauth.flows.revocation import Ended
from ovauth.provenance import Actor
from ovauth.roles import Role
from ovauth.rules import origin
from ovauth.templatetags.moments import ago
from ovauth.web import callers, connected, connecting, review
from ovauth.web.authorize import SeeOther, waiting_behind
from ovauth.web.public_origin import issuer_of
from ovauth.web.review import Doubt

View = Callable[[HttpRequest], HttpResponse]

CODE, DECIDED = "ovauth.code", "ovauth.decided"
"""What a session holds beside its member: a code on its way to the form, and the last decision."""
MOST_OF_A_CODE = 16


def signed_in(view: View) -> View:
    """Others are sent to sign in, and come back; what they sent by POST they send again."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return SeeOther(f"{reverse('console_login')}?{urlencode({'next': request.path})}")
        return view(request)

    return guarded


@require_safe
@signed_in
def home(request: HttpRequest) -> HttpResponse:
    """The apps that are connected, and how to connect one; until the first call, with marks that lead to it."""
    caller, member_pk = callers.of_session(request), authority_of(request).member_pk
    enabled = settings.OVAUTH.enabled
    living = connections.living(member_pk=member_pk) if enabled else []
    first = enabled and not living
    mcp_url = settings.OVAUTH.resources(issuer_of(request))[0]
    found, public = connecting.ways(mcp_url), connecting.is_public(mcp_url)
    context = {
        "caller": caller,
        "mcp_url": mcp_url,
        "connections": connected.rows(living),
        "ended": connections.ended(member_pk=member_pk) if enabled else [],
        "first": first,
        "ways": found,
        "public": public,
        "open_app": connecting.first_open(found, public=public) if first else "",
        "served": review.served(),
        "printed_key": accounts.is_first_operator(account=caller.account_id, name=caller.user_id)
        and accounts.printed_key_works(),
    }
    if enabled and not any(connection.last_used_at for connection in living):
        context["progress"] = progress.of(member_pk=member_pk, ip=_ip(request), watch=True)
    return render(request, "ovauth/console.html", context)


@require_safe
def how_far(request: HttpRequest) -> HttpResponse:
    """The marks of the checklist, for the page's script: the name of each, and whether it is passed."""
    if not request.user.is_authenticated:
        raise Unauthenticated
    found = progress.of(member_pk=authority_of(request).member_pk, ip=_ip(request))
    return JsonResponse(found.marks)


@require_POST
@signed_in
def disconnect(request: HttpRequest) -> HttpResponse:
    try:
        member_pk = authority_of(request).member_pk
        connection, ended = connections.disconnect(member_pk=member_pk, grant_pk=number_in(request, "connection"))
    except NotFound as gone:
        messages.info(request, _(gone.description))
    else:
        messages.success(request, stopped(f"“{connection.client_name or _('(no name)')}”", ended))
    return SeeOther(reverse("console"))


def stopped(what: str, ended: Ended) -> str:
    """That a connection is over from now on, in the words of a message."""
    said = ngettext(
        "Stopped: %(what)s. Its next request is refused. %(access)d access and %(refresh)d refresh token ended.",
        "Stopped: %(what)s. Its next request is refused. %(access)d access and %(refresh)d refresh tokens ended.",
        ended.refresh_tokens,
    )
    return said % {"what": what, "access": ended.access_tokens, "refresh": ended.refresh_tokens}


def number_in(request: HttpRequest, field: str) -> int:
    """What a form is about, by the number in that hidden field. Raises InvalidRequest."""
    which = request.POST.get(field, "")
    if not (which.isascii() and which.isdigit() and len(which) < 19):
        raise InvalidRequest("The form was not complete.")
    return int(which)


# ------------------------------------------------------------------ signing in and out


class SignInForm(AuthenticationForm):
    """One sentence for both fields and for a deactivated user: nobody learns which names exist."""

    error_messages = {  # noqa: RUF012 Django's way
        "invalid_login": gettext_lazy("User name or password is wrong."),
        "inactive": gettext_lazy("User name or password is wrong."),
    }


class SignIn(LoginView):
    """Takes a user name or `account/name`, and the password; goes on to `next`, on this origin only."""

    template_name = "ovauth/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True
    http_method_names = ("get", "head", "post")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "secret" in request.POST:
            return self._by_secret(request)
        # Counted before any password is looked at, so that a locked guesser learns nothing. Raises TooManyRequests.
        self.attempt = sign_in.begin(name=request.POST.get("username", ""), ip=_ip(request))
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_valid(form)
        self.request.session.pop(callers.API_KEY, None)
        return self._signed_in(form.get_user(), answer, Actor.SESSION, self.attempt)

    def _by_secret(self, request: HttpRequest) -> HttpResponse:
        """By an API key, on which the session then hangs, or by a one-time password."""
        try:
            found = sign_in.by_secret(secret=request.POST["secret"], ip=_ip(request))
        except NotFound as wrong:
            context = self.get_context_data(form=self.authentication_form(request))
            return self.render_to_response(context | {"secret_fault": _(wrong.description)}, status=400)
        login(request, found.member, backend="django.contrib.auth.backends.ModelBackend")
        if found.api_key_pk is None:
            request.session.pop(callers.API_KEY, None)
        else:
            request.session[callers.API_KEY] = found.api_key_pk
        return self._signed_in(found.member, SeeOther(self.get_success_url()), found.kind)

    def _signed_in(self, member: Any, answer: HttpResponse, by: Actor, attempt: sign_in.Attempt = ()) -> HttpResponse:
        sign_in.succeeded(member=member, by=by, attempt=attempt)
        self.request.session.set_expiry(None)  # it may have begun as the short one of a code
        answer.status_code = 303
        return answer

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        if form.non_field_errors():
            sign_in.failed(self.attempt)
        else:
            sign_in.withdrawn(self.attempt)
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        found = super().get_context_data(**context)
        fault = next(iter(found["form"].non_field_errors()), "")
        if found["form"].errors and not fault:
            fault = _("Fill in both fields.")
        waiting = waiting_behind(self.request, str(found["next"] or ""))
        found["review"] = review.of(self.request, waiting, here=True) if waiting else None
        name = self.request.POST.get("username", "")
        is_first = name in ("", accounts.FIRST_OPERATOR) and _is_at_the_machine(self.request)
        if is_first and accounts.first_password_stands():
            found["printed"] = name = accounts.FIRST_OPERATOR
        return found | {"fault": fault, "name": name}


@require_http_methods(["GET", "HEAD", "POST"])
def sign_out(request: HttpRequest) -> HttpResponse:
    """A link alone signs nobody out: GET shows a button."""
    following = _on_this_origin(request, request.POST.get("next") or request.GET.get("next") or "")
    if request.method != "POST":
        if not request.user.is_authenticated:
            return SeeOther(reverse("console_login"))
        return render(request, "ovauth/sign_out.html", {"next": following})
    logout(request)
    messages.info(request, _("You are signed out."))
    return SeeOther(following or reverse("console_login"))


def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """Django's admin has no sign-in page of its own here. Whoever is signed in and sent here lacks the role."""
    if request.user.is_authenticated and not request.user.is_staff:
        raise Forbidden("The administration is for the role root.")
    following = _on_this_origin(request, request.GET.get("next", "")) or reverse("admin:index")
    return SeeOther(f"{reverse('console_login')}?{urlencode({'next': following})}")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def password(request: HttpRequest) -> HttpResponse:
    member: Any = request.user  # its class is not for this room
    form = PasswordChangeForm(member, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        caller = callers.of_session(request)
        accounts.set_password(account=caller.account_id, name=caller.user_id, password=form.cleaned_data["new_password1"])
        member.refresh_from_db()
        update_session_auth_hash(request, member)
        messages.success(request, _("The password is changed."))
        return SeeOther(reverse("console"))
    faulty = bool(form.errors)
    return render(request, "ovauth/password.html", {"form": form, "fault": faulty}, status=400 if faulty else 200)


# ------------------------------------------------------------------ confirming a code


@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest) -> HttpResponse:
    """Enter a code, review what it is about, decide. A code in the address moves into the session and out of sight."""
    here = reverse("console_verify")
    typed = request.POST.get("code") if request.method == "POST" else request.GET.get("code")
    if request.method != "POST" and typed is not None:
        _keep_code(request, typed)
        return SeeOther(here)
    if not request.user.is_authenticated:
        if typed:
            _keep_code(request, typed)
        return SeeOther(f"{reverse('console_login')}?{urlencode({'next': here})}")
    if request.method != "POST":
        return _enter(request, str(request.session.get(CODE, "")))
    return _decide(request, typed or "") if "action" in request.POST else _review(request, typed or "")


@require_safe
@signed_in
def decided(request: HttpRequest) -> HttpResponse:
    """What was decided last in this session; whoever denied may then say that they did not start it."""
    last = request.session.get(DECIDED)
    if last is None:
        return SeeOther(reverse("console_verify"))
    whole_account = callers.of_session(request).role >= Role.ADMIN
    return render(request, "ovauth/decided.html", {"decided": last, "whole_account": whole_account})


@require_POST
@signed_in
def block(request: HttpRequest) -> HttpResponse:
    """“I did not start this”, about what was denied last in this session: no form chooses which app."""
    last = request.session.get(DECIDED)
    if last is None or last["status"] != "denied" or "client_id" not in last:
        raise InvalidRequest("The form was not complete.")
    result = blocking.block(authority=authority_of(request), client_id=last["client_id"])
    request.session[DECIDED] = last | {"blocked": result.told}
    return SeeOther(reverse("console_decided"))


def _enter(request: HttpRequest, code: str = "", *, fault: str = "", status: int = 200) -> HttpResponse:
    return render(request, "ovauth/verify.html", {"code": code, "fault": fault}, status=status)


def _review(request: HttpRequest, code: str, *, doubt: Doubt | None = None, status: int = 200) -> HttpResponse:
    caller = callers.of_session(request)
    try:
        waiting = approval.review(authority=authority_of(request), code=code, ip=_ip(request))
    except (NotFound, Conflict) as refusal:
        return _enter_again(request, code, refusal)
    shown = review.of(request, waiting, here=False)
    context = review.context(request, shown, caller, doubt=doubt) | {"code": _as_shown(code)}
    return render(request, "ovauth/review.html", context, status=status)


def _decide(request: HttpRequest, code: str) -> HttpResponse:
    authority, ip = authority_of(request), _ip(request)
    try:
        match request.POST["action"]:
            case "deny":
                result = approval.deny(authority=authority, code=code, ip=ip, via="code")
            case "approve":
                caller = callers.of_session(request)
                waiting = approval.review(authority=authority, code=code, ip=ip)
                if doubt := review.doubt(request, review.of(request, waiting, here=False), caller):
                    return _review(request, code, doubt=doubt, status=400)
                scopes = review.chosen(request, waiting, caller)
                result = approval.approve(authority=authority, code=code, scopes=scopes, ip=ip, via="code")
            case _:
                raise InvalidRequest("The form was not complete.")
    except (NotFound, Conflict) as refusal:
        return _enter_again(request, code, refusal)
    request.session.pop(CODE, None)
    request.session[DECIDED] = {
        "status": result.status,
        "client_id": result.client_id,
        "client_name": result.client_name or result.client_id,
    }
    return SeeOther(reverse("console_decided"))


def _enter_again(request: HttpRequest, code: str, refusal: NotFound | Conflict) -> HttpResponse:
    """A wrong code is a mistake in a form, not a page that is missing."""
    request.session.pop(CODE, None)
    status = 400 if isinstance(refusal, NotFound) else refusal.status
    return _enter(request, code[:MOST_OF_A_CODE], fault=_fault_of(refusal), status=status)


def _fault_of(refusal: NotFound | Conflict) -> str:
    if not isinstance(refusal, Conflict) or refusal.at is None:
        return refusal.description
    match refusal.decision:
        case "approved" if refusal.yours:
            said = _("You approved this %s. Nothing is left to do here.")
        case "approved":
            said = _("This was approved %s, by somebody else.")
        case _:
            said = _("This was denied %s. Nothing was shared.")
    return said % ago(refusal.at)


def _as_shown(code: str) -> str:
    """A code that was found, the way that the other screen shows it."""
    letters = "".join(letter for letter in code.upper() if letter.isalnum())
    return f"{letters[:3]}-{letters[3:]}"


def _keep_code(request: HttpRequest, typed: str) -> None:
    """In the session until the form is sent. For somebody who is not signed in that session is a short one."""
    if not typed or len(typed) > MOST_OF_A_CODE or wire.unspeakable(typed):
        return
    if not request.user.is_authenticated:
        request.session.set_expiry(settings.OVAUTH.pending_ttl)
    request.session[CODE] = typed


def _on_this_origin(request: HttpRequest, url: str) -> str:
    """The URL if it stays on this origin, else nothing."""
    safe = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if safe else ""


def _is_at_the_machine(request: HttpRequest) -> bool:
    """Whether the browser runs where the server does, so that its person may have the terminal before them."""
    return origin.is_loopback_host(request.get_host()) and origin.is_loopback_address(_ip(request))


def authority_of(request: HttpRequest) -> Authority:
    """What the session may approve. Raises Forbidden."""
    authority = callers.of_session(request).authority
    if authority is None:
        raise Forbidden
    return authority


def _ip(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
