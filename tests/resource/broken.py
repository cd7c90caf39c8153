"""A server's module that cannot be imported."""

server = 1 / 0
