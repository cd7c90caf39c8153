"""Django's settings, built from ovauth.conf. Names that Django 6.0 gives its own (SECURE_CSP) are used here already."""

import sys
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from ovauth import conf, logs

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    OVAUTH = conf.load()
    (SECRET_KEY, *SECRET_KEY_FALLBACKS), SECRET_KEY_IS_NEW = conf.secret_keys(OVAUTH)
except conf.Misconfigured as misconfigured:
    if "pytest" in sys.modules:
        raise ImproperlyConfigured(str(misconfigured)) from None
    sys.stderr.write(f"{misconfigured}\n")
    sys.exit(2)

DEBUG = False
ALLOWED_HOSTS = ["*"]  # the host was decided before Django, by ovauth.web.public_origin
ROOT_URLCONF = "project.urls"
APPEND_SLASH = False  # a POST is never redirected

INSTALLED_APPS = [
    "ovauth",
    "ovauth.apps.OvauthAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "ovauth.web.middleware.PageHeaders",
    "ovauth.web.middleware.Languages",
    "ovauth.web.middleware.Requests",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ovauth.web.middleware.SessionsOfKeys",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ovauth.web.languages.for_templates",
            ],
        },
    },
]


LOCK_PATIENCE = 5
"""Seconds that a request waits for its turn to write; then it is answered 503, and the client asks again."""
STATEMENT_PATIENCE = 8
"""Seconds that PostgreSQL may take for one statement: none of ours needs more than a few milliseconds."""
CONNECTION_PATIENCE = 5

POSTGRESQL_OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECTION_PATIENCE,
    # A host that vanished without a word is noticed: after 30 + 3 × 5 s, and after 10 s where an answer is awaited.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": f"-c statement_timeout={STATEMENT_PATIENCE}s -c lock_timeout={LOCK_PATIENCE}s"
    " -c idle_in_transaction_session_timeout=60s -c TimeZone=UTC",
}


def database(url: str | None) -> dict[str, Any]:
    """The one database. Connections belong to long-lived threads, so they are kept (and looked at before use); those of a
    serving process to PostgreSQL come from a pool, see `ovauth.pool`.

    Nobody waits for ever. What a DATABASE_URL says behind its `?` comes before what stands here.
    """
    if url:
        found: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True))
    else:
        found = {"ENGINE": "django.db.backends.sqlite3", "NAME": OVAUTH.database_path, "CONN_MAX_AGE": None}
    if found["ENGINE"].endswith("postgresql"):
        found["OPTIONS"] = POSTGRESQL_OPTIONS | found.get("OPTIONS", {})
    if found["ENGINE"].endswith("sqlite3"):
        found["OPTIONS"] = {
            # A transaction takes the write lock when it begins, so it waits for its turn and never fails half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": LOCK_PATIENCE,
            # In a container nothing but the data folder can be written: SQLite has no other place for what it sorts.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY",
        }
        # Tests with several threads need a file: an in-memory database belongs to one connection.
        found["TEST"] = {"NAME": OVAUTH.data_dir / "test.sqlite3"}
    return found


DATABASES = {"default": database(OVAUTH.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "ovauth.Member"
LOGIN_URL = "console_login"
LOGIN_REDIRECT_URL = "/console/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("name", "sign_in_name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]  # those that ovauth speaks; Django alone speaks a hundred
LANGUAGE_COOKIE_NAME = "ovauth_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LOCALE_PATHS = [BASE_DIR / "ovauth" / "locale"]  # before Django's own words, and for the templates as well
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = OVAUTH.data_dir / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "ovauth.web.static_files.HashedBelowIssuer"},
}
WHITENOISE_MANIFEST_STRICT = False

SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "ovauth.web.faults.csrf_failure"

# Every page may be reached inside a popup whose opener waits for it, and a form must send its Origin.
SECURE_CROSS_ORIGIN_OPENER_POLICY = None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

SILENCED_SYSTEM_CHECKS = [
    "auth.W004",  # names are unique within an account; the sign-in name is unique everywhere
    # ovauth.web.middleware.PageHeaders sends these headers on every page, and OAuth popups need another COOP than Django's.
    "security.W001",
    "security.W002",
    # Secure is decided per request, there as well: the same server answers http on loopback and https behind a proxy.
    "security.W012",
    "security.W016",
]
LOGGING = logs.LOGGING
