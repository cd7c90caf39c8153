from tests.fetching.https import authority, resolver, server

__all__ = ["authority", "resolver", "server"]
