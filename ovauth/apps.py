"""The one app, and the admin in a frame of its own."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class OvauthConfig(AppConfig):
    name = "ovauth"
    verbose_name = "ovauth"
    default = True

    def ready(self) -> None:
        from ovauth import checks  # noqa: F401  registers them


class OvauthAdminConfig(admin_apps.AdminConfig):
    default = False  # named in the settings
    default_site = "ovauth.admin_site.ConsoleAdminSite"

    def ready(self) -> None:
        super().ready()
        from django.contrib import admin
        from django.contrib.auth.models import Group

        admin.site.unregister(Group)  # roles take its place
