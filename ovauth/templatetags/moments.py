"""Moments as a page tells them."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def ago(moment: datetime) -> str:
    """“just now”, “3 minutes ago”, “2 months ago”: the greatest unit alone says enough."""
    if (timezone.now() - moment).total_seconds() < 60:
        return _("just now")
    return _("%s ago") % timesince(moment, depth=1)


@register.filter
def time_until(moment: datetime) -> str:
    """“4 weeks”, in the greatest unit alone."""
    return timeuntil(moment, depth=1)
