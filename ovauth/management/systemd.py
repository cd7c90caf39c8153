"""systemd's sd_notify protocol: one datagram with the state, to the socket that it named."""

import socket
from contextlib import suppress

from django.conf import settings


def tell(state: str) -> None:
    """`READY=1`, `STOPPING=1`. Without systemd nothing happens; and nothing that is told there is worth a failure."""
    if address := settings.OVAUTH.notify_socket:
        # An abstract name begins with a zero byte, which systemd writes as @.
        name = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.sendto(state.encode(), name)
