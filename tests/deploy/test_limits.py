"""What nginx lets through is what the server takes: less would refuse good requests, more would end in a 502."""

import re

from ovauth.resource import gate
from ovauth.web import serving
from tests.deploy.proxies import DEPLOY

UNITS = {"k": 1024, "m": 1024 * 1024}


def test_nginx_and_the_server_agree_on_the_size_of_a_body() -> None:
    found = re.findall(r"client_max_body_size (\d+)([km]);", (DEPLOY / "nginx.conf").read_text())
    assert [int(number) * UNITS[unit] for number, unit in found] == [serving.MAX_BODY, gate.MAX_BODY]
