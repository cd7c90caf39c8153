"""Accounts, their members, and the keys of those."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.errors import Conflict, InvalidRequest, NotFound
from ovauth.flows import audit, revocation
from ovauth.flows.revocation import Ended
from ovauth.models import Account, ApiKey, Member
from ovauth.roles import Role

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FIRST_ACCOUNT, FIRST_OPERATOR = "default", "operator"


@dataclass(frozen=True, slots=True)
class NewMember:
    """What is known only now: the API key, and the password if ovauth made one up, in clear."""

    account_id: str
    user_id: str
    role: str
    api_key: str
    sign_in_name: str
    password: str | None = None
    new_account: bool = False
    """Whether the account was missing, and made too."""


def create_user(*, account: str, name: str, role: Role, password: str | None = None) -> NewMember:
    """The user with an API key, and the account where it is missing. Without a password there is no signing in.

    Raises InvalidRequest for a name that cannot be one, Conflict when the user exists.
    """
    now = timezone.now()
    for what, value in (("account", account), ("user", name)):
        if not NAME.fullmatch(value):
            raise InvalidRequest(
                f"“{value}” cannot be the name of a {what}: use letters, digits, dot, hyphen, underscore and @, "
                "beginning with a letter or digit, 64 at most."
            )
    with transaction.atomic():
        owner, new_account = Account.objects.get_or_create(name=account, defaults={"created_at": now})
        if Member.objects.filter(account=owner, name=name).exists():
            raise Conflict(f"The account {account} has a user {name} already.")
        member = Member(account=owner, name=name, sign_in_name=f"{account}/{name}", role=role, created_at=now)
        if password is None:
            member.set_unusable_password()
        else:
            member.set_password(password)
        try:
            with transaction.atomic():
                member.save(force_insert=True)
        except IntegrityError:  # somebody else did so just now
            raise Conflict(f"The account {account} has a user {name} already.") from None
        key, digest = _new_key(member, now)
        audit.record("user.created", now=now, member=member, role=role.label)
        audit.record("api_key.created", now=now, member=member, credential=digest)
    return NewMember(account, name, role.label, key, member.sign_in_name, new_account=new_account)


def create_first_operator(show: Callable[[NewMember], None]) -> bool:
    """On an empty database: the first operator, shown once by `show` before the commit. False when there is somebody.

    Interrupted before the end, nothing was created and the next start shows fresh credentials.
    """
    password = credentials.password()
    with transaction.atomic():
        if Member.objects.exists():
            return False
        made = create_user(account=FIRST_ACCOUNT, name=FIRST_OPERATOR, role=Role.ROOT, password=password)
        Member.objects.filter(sign_in_name=made.sign_in_name).update(first_password=True)
        show(NewMember(made.account_id, made.user_id, made.role, made.api_key, made.sign_in_name, password))
    return True


def printed_key_works() -> bool:
    """Whether the key that the first start printed still works."""
    first = {"member__account__name": FIRST_ACCOUNT, "member__name": FIRST_OPERATOR}
    return ApiKey.objects.filter(**first, created_at=F("member__created_at"), revoked_at=None).exists()


def first_password_stands() -> bool:
    """Whether the first operator still signs in by the password that the first start printed."""
    return Member.objects.filter(sign_in_name=f"{FIRST_ACCOUNT}/{FIRST_OPERATOR}", first_password=True).exists()


def is_first_operator(*, account: str, name: str) -> bool:
    """Whether that is whose credentials the first start printed."""
    return (account, name) == (FIRST_ACCOUNT, FIRST_OPERATOR)


def rotate_api_key(*, account: str, name: str, after: int | None = None) -> tuple[str, Ended]:
    """A new API key in clear. The old ones and every OAuth credential that they authorized stop working at once.

    `after` is the number of the newest key that whoever asks knows of, 0 for none: with it a form that is sent again
    replaces nothing. Raises NotFound, and Conflict when a newer key works.
    """
    now = timezone.now()
    with transaction.atomic():
        member = _member(account, name)
        living = ApiKey.objects.filter(member=member, revoked_at=None)
        if after is not None and living.filter(pk__gt=after).exists():
            raise Conflict("A new key was made already, and is shown once. This time nothing was replaced.")
        living.update(revoked_at=now)
        ended = revocation.end_authorized_by_keys(member, now, because="API key rotated")
        key, digest = _new_key(member, now)
        audit.record("api_key.rotated", now=now, member=member, credential=digest)
    return key, ended


def revoke_api_key(*, key_pk: int) -> Ended | None:
    """Ends one API key and every OAuth credential that it authorized; None when it had ended already."""
    now = timezone.now()
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key_pk, revoked_at=None).update(revoked_at=now):
            return None
        key = ApiKey.objects.select_related("member__account").get(pk=key_pk)
        ended = revocation.end_authorized_by_key(key, now, because="API key revoked")
        audit.record("api_key.revoked", now=now, member=key.member, credential=key.digest, last_four=key.last_four)
    return ended


def change(*, account: str, name: str, role: Role, is_active: bool) -> None:
    """Another role, or no way in any more. What was approved with more than that ends now, and for good.

    Raises NotFound, and Conflict for the last one with the role root.
    """
    now = timezone.now()
    with transaction.atomic():
        # Two roots who demote each other wait for one another, or nobody would be left.
        list(Member.objects.select_for_update().filter(role=Role.ROOT).order_by("pk").values_list("pk"))
        member = _member(account, name)
        was_role, was_active = Role(member.role), member.is_active
        member.role, member.is_active = role, is_active
        member.save(update_fields=["role", "is_active"])
        if was_role >= Role.ROOT and was_active and not Member.objects.filter(role=Role.ROOT, is_active=True).exists():
            raise Conflict("Somebody has to have the role root. Give it to another member first.")
        if role < was_role:
            revocation.end_above_role(member, role, now, because="role lowered")
        if was_active and not is_active:
            revocation.end_member(member, now, because="user deactivated")
            audit.record("user.disabled", now=now, member=member)
        if is_active and not was_active:
            audit.record("user.enabled", now=now, member=member)
        if role != was_role:
            audit.record("user.role_changed", now=now, member=member, role=role.label)


def set_password(*, account: str, name: str, password: str) -> None:
    """A new password: sessions opened with the old one end, and so does what they approved. Raises NotFound."""
    now = timezone.now()
    with transaction.atomic():
        member = _member(account, name)
        member.set_password(password)
        member.save(update_fields=["password", "password_epoch", "first_password"])
        audit.record("user.password_changed", now=now, member=member)


def _member(account: str, name: str) -> Member:
    """The member, and nobody else's to change until the transaction ends: two rotations would leave two keys, and two
    changes of the password count as one."""
    rows = Member.objects.select_for_update(of=("self",), no_key=True).select_related("account")
    member = rows.filter(account__name=account, name=name).first()
    if member is None:
        raise NotFound(f"The account {account} has no user {name}.")
    return member


def _new_key(member: Member, now: datetime) -> tuple[str, bytes]:
    """The key in clear, and its digest."""
    plain = credentials.mint(Kind.API_KEY)
    digest = credentials.digest(plain)
    ApiKey.objects.create(member=member, digest=digest, last_four=plain[-4:], created_at=now)
    return plain, digest
