"""The one app."""

from django.apps import AppConfig


class OvauthConfig(AppConfig):
    name = "ovauth"
    verbose_name = "ovauth"

    def ready(self) -> None:
        from ovauth import checks  # noqa: F401  registers them
