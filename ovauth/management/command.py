"""What every command of ovauth has in common: it fails with one sentence and one remedy, exit status 2, no traceback."""

import errno
import getpass
import os
import socket
import sys
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from ovauth.conf import Misconfigured
from ovauth.errors import NotFound, Refusal
from ovauth.flows.revocation import Ended
from ovauth.management import preparation
from ovauth.management.failure import Failed
from ovauth.models import Member
from ovauth.provenance import Actor, Provenance, serving

FAILED = 2
UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk or its rights do to a command."""
INTERRUPTED = 130


class OvauthCommand(BaseCommand):
    """A command that works on an empty data folder too. `perform` is the command; `prepares` false leaves the database."""

    requires_system_checks: ClassVar[list[str]] = []  # type: ignore[misc]
    prepares: ClassVar[bool] = True

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)  # whatever is created belongs to the owner alone
        try:
            if self.prepares:
                preparation.migrate()
            with serving(Provenance(kind=Actor.OPERATOR, actor=_operator())):
                self.perform(**options)
        except (Failed, Misconfigured) as fault:
            self._end(str(fault))
        except NotFound:
            self._end(_no_such_user(options["account"], options["name"]))
        except Refusal as refusal:
            self._end(refusal.description)
        except DatabaseError as error:
            self._end(_database_sentence(error))
        except KeyboardInterrupt:
            self._end("Interrupted.", INTERRUPTED)
        except BrokenPipeError:
            # Nobody reads any more; what was to be done is done. Python would complain while closing the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            if error.errno not in UNUSABLE:
                raise
            self._end(
                f"{error.filename or 'The data folder'} cannot be used ({error.strerror}). "
                f"See that {settings.OVAUTH.data_dir} is writable and its disk has room."
            )

    def perform(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError

    def _end(self, sentence: str, status: int = FAILED) -> NoReturn:
        self.stderr.write(sentence)
        sys.exit(status)


def _operator() -> str:
    """The user of the operating system who called the command, as far as it is known."""
    with suppress(OSError, KeyError, ImportError):
        return f"{getpass.getuser()}@{socket.gethostname()}"[:129]
    return "somebody"


def _database_sentence(error: DatabaseError) -> str:
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if connection.vendor == "sqlite":
        return (
            f"The database {settings.DATABASES['default']['NAME']} cannot be used ({why}). "
            "Make it and its folder writable, or point OVAUTH_DATA_DIR to another folder."
        )
    return f"The database does not do its work ({why}). See that it runs, and that DATABASE_URL names it."


def _no_such_user(account: str, name: str) -> str:
    elsewhere = list(Member.objects.filter(name=name).order_by("account__name").values_list("account__name", flat=True)[:5])
    remedy = f"There is one in: {', '.join(elsewhere)}" if elsewhere else "`uv run manage.py create_user` makes one"
    return f"The account {account} has no user {name}. {remedy}."


def counted(ended: Ended) -> str:
    """How much ended, in words."""
    kinds = {
        "authorization code": ended.authorization_codes,
        "access token": ended.access_tokens,
        "refresh token": ended.refresh_tokens,
    }
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items())
