"""The settings of a server that has a fault (`faulty_urls`)."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.browser.faulty_urls"
