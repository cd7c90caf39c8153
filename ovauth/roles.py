"""The three roles of a member, in ascending order of power. A leaf: imported by every room, imports nothing."""

from enum import IntEnum


class Role(IntEnum):
    """Stored as a number, so that “at least admin” is one comparison in Python and in SQL; spoken of by name."""

    USER = 1
    ADMIN = 2
    ROOT = 3

    @property
    def label(self) -> str:
        return self.name.lower()

    @classmethod
    def named(cls, label: str) -> "Role":
        """The role of that name, as the contract spells it. Raises KeyError for any other word."""
        return {role.label: role for role in cls}[label]
