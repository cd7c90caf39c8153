"""Why a command cannot do what it was asked."""


class Failed(Exception):
    """One sentence that tells what is wrong, and one remedy."""
