"""A QR code as an SVG to be put into a page: attributes and no styles, so that it passes our policy."""

import segno
from django.utils.safestring import SafeString, mark_safe

from ovauth.rules import display_text


def svg(address: str, *, title: str) -> SafeString:
    """The picture of an address, dark on white in both colour schemes: scanners want it so."""
    code = segno.make(address, error="m", micro=False)
    return mark_safe(  # segno escapes the title, and nothing else in it is text
        code.svg_inline(
            border=3, scale=4, dark="#111", light="#fff", svgclass="qr", lineclass=None, title=display_text.clean(title)
        )
    )
