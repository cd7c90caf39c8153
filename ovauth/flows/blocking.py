"""“I did not start this”: a person who was asked to approve a stranger's request has the client blocked.

An administrator blocks it for the whole account, and ends what it holds there. Anybody else blocks it for themselves: the
stranger may have borrowed a client that others of the account use every day, and one member ends nobody else's connections.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from ovauth import statements
from ovauth.errors import NotFound
from ovauth.flows import audit, revocation
from ovauth.flows.authority import Authority
from ovauth.models import BlockedClient, Client, Grant, Member
from ovauth.roles import Role
from ovauth.rules import display_text


@dataclass(frozen=True, slots=True)
class Blocked:
    """The client, for whom it is blocked, whether that is the whole account, and how many connections ended."""

    client_name: str
    whom: str
    whole_account: bool
    ended: int

    @property
    def told(self) -> dict[str, str | bool | int]:
        """The outcome in plain values, as a session can keep it."""
        return {"whom": self.whom, "whole_account": self.whole_account, "ended": self.ended}


@dataclass(frozen=True, slots=True)
class Block:
    """One that stands: for everybody (an operator's own), for the account of that name, or for the member; since when."""

    whom: Literal["everybody", "account", "member"]
    name: str
    since: datetime


def block(*, authority: Authority, client_id: str) -> Blocked:
    """Refuses this client from now on, and ends what it holds. Again: the same again, and no second row.

    Raises NotFound for a client that is gone, and Forbidden when the authority no longer stands.
    """
    now = timezone.now()
    with transaction.atomic():
        member = authority.prove()
        client = Client.objects.filter(client_id=client_id).first()
        if client is None:
            raise NotFound("This app is not known here.")
        whole = member.role >= Role.ADMIN
        row, new = BlockedClient.objects.get_or_create(
            client=client,
            account=member.account,
            member=None if whole else member,
            defaults={"created_at": now},
        )
        ended = _end_what_it_holds(client, Q(member__account=member.account) if whole else Q(member=member), now)
        whom = member.account.name if whole else member.name
        if new or ended:
            audit.record("client.blocked_for_account", now=now, member=member, client=client, whom=whom, grants=ended)
    return Blocked(display_text.clean(client.name) or client.client_id, whom, whole, ended)


def unblock(*, block_pk: int) -> bool:
    """Lets a client ask again; False when somebody was quicker. What ended stays ended."""
    now = timezone.now()
    with transaction.atomic():
        row = BlockedClient.objects.select_related("client", "account").filter(pk=block_pk).first()
        if row is None:
            return False
        whom = row.member.name if row.member else row.account.name
        audit.record("client.unblocked_for_account", now=now, client=row.client, whom=whom)
        row.delete()
    return True


def blocks(member: Member, client: Client) -> bool:
    """Whether nothing may be approved for this client by this member, be it an operator who blocked it or people."""
    if client.blocked_at is not None:
        return True
    return statements.BLOCKED.row(client=client.pk, member=member.pk, account=member.account_id) is not None


def standing(*, member_pk: int, client_id: str) -> Block | None:
    """The block by which people keep this client from the member, the account's before the member's own."""
    found = BlockedClient.objects.select_related("account", "member").filter(_binds(member_pk), client__client_id=client_id)
    row = found.order_by(F("member").asc(nulls_first=True)).first()
    if row is None:
        return None
    if row.member is None:
        return Block("account", row.account.name, row.created_at)
    return Block("member", row.member.name, row.created_at)


def among(client_ids: Collection[str], *, member_pk: int) -> set[str]:
    """Those of these clients for which nothing may be approved by that member."""
    named = Client.objects.filter(client_id__in=client_ids)
    by_people = BlockedClient.objects.filter(_binds(member_pk)).values("client")
    return set(named.filter(Q(blocked_at__isnull=False) | Q(pk__in=by_people)).values_list("client_id", flat=True))


def _binds(member_pk: int) -> Q:
    """Which blocks concern that member."""
    return Q(member=member_pk) | Q(member=None, account__in=Member.objects.filter(pk=member_pk).values("account"))


def _end_what_it_holds(client: Client, whose: Q, now: datetime) -> int:
    living = Grant.objects.select_related("client", "member__account").filter(whose, client=client, revoked_at=None)
    return sum(revocation.end_grant(grant, now, because="blocked: nobody here started its request") for grant in living)
