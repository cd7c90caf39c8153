"""Moments as a page tells them."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

register = template.Library()

# Django has the same; here they are translated as people say them in front of “ago”.
SPANS: dict[str, Any] = {
    "year": ngettext_lazy("%(num)d year", "%(num)d years", "num"),
    "month": ngettext_lazy("%(num)d month", "%(num)d months", "num"),
    "week": ngettext_lazy("%(num)d week", "%(num)d weeks", "num"),
    "day": ngettext_lazy("%(num)d day", "%(num)d days", "num"),
    "hour": ngettext_lazy("%(num)d hour", "%(num)d hours", "num"),
    "minute": ngettext_lazy("%(num)d minute", "%(num)d minutes", "num"),
}


@register.filter
def ago(moment: datetime) -> str:
    """“just now”, “3 minutes ago”, “2 months ago”: the greatest unit alone says enough."""
    if (timezone.now() - moment).total_seconds() < 60:
        return _("just now")
    return _("%s ago") % timesince(moment, depth=1, time_strings=SPANS)


@register.filter
def time_until(moment: datetime) -> str:
    """“4 weeks”, in the greatest unit alone."""
    return timeuntil(moment, depth=1, time_strings=SPANS)
