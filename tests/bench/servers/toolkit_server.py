"""django-oauth-toolkit in the smallest project that has its endpoints and one protected view.

    gunicorn toolkit_server:application       in a folder of its own, with the packages of the peer's environment

SQLite as ovauth has it: WAL, synchronous=NORMAL, transactions that begin IMMEDIATE, kept connections.
"""

import json
import secrets
from datetime import timedelta

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "toolkit.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    OAUTH2_PROVIDER={"PKCE_REQUIRED": True, "SCOPES": {"mcp": "use the server", "introspection": "ask about tokens"}},
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.decorators import protected_resource
from oauth2_provider.models import AccessToken, Application, Grant, RefreshToken

REDIRECT_URI = "http://localhost:8123/callback"
SECRET = "bench-secret-that-is-long-enough-for-everybody"


@csrf_exempt
@protected_resource(scopes=["mcp"])
def mcp(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"jsonrpc": "2.0", "id": 1, "result": {}})


@csrf_exempt
def prepare(request: HttpRequest) -> JsonResponse:
    wish = json.loads(request.body)
    now = timezone.now()
    user, _ = django.contrib.auth.get_user_model().objects.get_or_create(username="alice")
    public, _ = Application.objects.get_or_create(
        name="Bench",
        client_id="bench",
        defaults={
            "client_secret": "",
            "client_type": "public",
            "authorization_grant_type": "authorization-code",
            "redirect_uris": REDIRECT_URI,
            "user": user,
        },
    )
    of = {"application": public, "user": user, "scope": "mcp"}
    made = []
    for _ in range(wish.get("codes", 0)):
        code = secrets.token_urlsafe(32)
        made.append([code, public.client_id, REDIRECT_URI])
    Grant.objects.bulk_create(
        Grant(
            code=code,
            redirect_uri=REDIRECT_URI,
            expires=now + timedelta(seconds=600),
            code_challenge=wish["challenge"],
            code_challenge_method="S256",
            **of,
        )
        for code, *_ in made
    )
    for _ in range(wish.get("refresh", 0)):
        access = AccessToken.objects.create(token=secrets.token_urlsafe(32), expires=now + timedelta(hours=1), **of)
        plain = secrets.token_urlsafe(32)
        RefreshToken.objects.create(token=plain, application=public, user=user, access_token=access)
        made.append([plain, public.client_id])
    for _ in range(wish.get("tokens", 0)):
        plain = secrets.token_urlsafe(32)
        AccessToken.objects.create(token=plain, expires=now + timedelta(hours=10), **of)
        made.append([plain])
    if "asker" in wish:
        asker, _ = Application.objects.get_or_create(
            client_id="asker",
            defaults={
                "client_secret": SECRET,
                "hash_client_secret": False,
                "client_type": "confidential",
                "authorization_grant_type": "client-credentials",
                "user": user,
            },
        )
        made.append([asker.client_id, SECRET])
    return JsonResponse(made, safe=False)


def ready(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("mcp", mcp),
    path("prepare", prepare),
    path("ready", ready),
]
application = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
