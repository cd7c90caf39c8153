"""On whose behalf something is approved, and which credential proved it.

What an API key authorized dies with that key; what a console session authorized dies with the password that opened it.
An OAuth token is no authority: it cannot prolong or multiply itself.
"""

from dataclasses import dataclass

from ovauth import statements
from ovauth.errors import Forbidden
from ovauth.models import Account, Member, known
from ovauth.provenance import Actor

_COLUMNS = ("id", "name", "sign_in_name", "role", "is_active", "password_epoch", "account_id")


@dataclass(frozen=True, slots=True)
class Authority:
    """A member, and exactly one of: the API key, or the password epoch of the session, that spoke for them."""

    member_pk: int
    api_key_pk: int | None = None
    password_epoch: int | None = None

    def __post_init__(self) -> None:
        if (self.api_key_pk is None) == (self.password_epoch is None):
            raise ValueError("an authority is a key or a session")

    @property
    def kind(self) -> Actor:
        """Through what the member acts."""
        return Actor.SESSION if self.api_key_pk is None else Actor.API_KEY

    @property
    def guesser(self) -> str:
        """Whom failures are counted against."""
        return f"member {self.member_pk}"

    def prove(self) -> Member:
        """The member, if the credential still stands, seen inside the caller's transaction. Raises Forbidden."""
        row = statements.MEMBER_WITH_KEY.row(id=self.member_pk, api_key=self.api_key_pk)
        if row is None:
            raise Forbidden("This user is deactivated.")
        *columns, account_name, key_stands = row
        of_member = dict(zip(_COLUMNS, columns, strict=True))
        account = known(Account, id=of_member["account_id"], name=account_name)
        member = known(Member, {"account": account}, **of_member)
        if self.api_key_pk is not None:
            if not key_stands:
                raise Forbidden("This API key is no longer valid.")
        elif self.password_epoch != member.password_epoch:
            raise Forbidden("The password has changed. Sign in again.")
        return member
