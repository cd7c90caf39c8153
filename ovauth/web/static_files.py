"""Static files with hashed names, linked below the path of the issuer where it has one."""

from django.urls import get_script_prefix
from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedBelowIssuer(CompressedManifestStaticFilesStorage):
    def url(self, name: str | None, force: bool = False) -> str:
        """Django adds the path of the issuer when the process starts, and it is known only with the request."""
        address: str = super().url(name, force)
        return get_script_prefix().rstrip("/") + address
