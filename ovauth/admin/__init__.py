"""The Django admin, for the role root: everything that ovauth holds, and the end of it.

    people       accounts, members, API keys
    clients      clients, made and registered
    blocked      clients that somebody did not start
    connections  grants, and what they issued or wait for
    story        audit events

Nothing is changed here but by a flow, as everywhere else. A secret is answered to the form that made it, and stored
nowhere in clear: neither in a message nor in a session.
"""

from ovauth.admin import blocked, clients, connections, people, story

__all__ = ["blocked", "clients", "connections", "people", "story"]
