"""The Django admin, for the role root: everything that ovauth holds, and the end of it.

    people       accounts, users, API keys
    clients      clients, made and registered
    blocked      clients that somebody did not start
    connections  grants, and what they issued or wait for
    tallies      rate limits
    story        audit events, and their export
    finding      a leaked credential: whose, and its end
    since        everything since a moment, and its end
    home         the first page

    walking      lists that never count and never wait
    narrowing    what lists are narrowed to
    base, words  what the pages share

Nothing is changed here but by a flow, as everywhere else. A secret is answered to the form that made it, and stored
nowhere in clear: neither in a message nor in a session.
"""

from ovauth.admin import blocked, clients, connections, finding, home, people, since, story, tallies

__all__ = ["blocked", "clients", "connections", "finding", "home", "people", "since", "story", "tallies"]
