"""A complete OAuth 2.1 authorization server for MCP servers. What the code of such a server imports from it is here."""

from ovauth.resource.identity import Identity, MissingScope, current_identity, requires

__all__ = ["Identity", "MissingScope", "current_identity", "requires"]
