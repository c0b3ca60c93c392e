"""Who calls, and what they may do."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from enum import StrEnum

from wan_mcp_tools.domain.record import Record


class Scope(StrEnum):
    """What a principal may do, in the words of OAuth scopes."""

    READ = "wan:read"
    """See one's own tasks and pictures."""
    ORDER = "wan:order"
    """Order pictures; includes reading."""
    CANCEL = "wan:cancel"
    """Cancel one's own tasks; includes reading."""
    ADMIN = "wan:admin"
    """See everybody's tasks and costs, and ask the service about ids that the ledger lacks; includes all others."""


_INCLUDED = {
    Scope.ORDER: frozenset({Scope.READ}),
    Scope.CANCEL: frozenset({Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


class SignIn(Record):
    """
    By what a principal has signed in: until when it holds, in seconds since 1970, if that is in it.

    `token` tells a token of the operator's file from others that have had its name.
    """

    ends_at: float | None = None
    token: str | None = None


class Principal(Record):
    """
    A caller. `id` is what orders are kept under; `scopes` are those that were granted, without what they include.

    Who signs in with a token of the operator's file has its name, who comes with an issuer's token the issuer and the
    subject, so that no two of them are the same. By what one has signed in is no part of who it is.
    """

    id: str
    scopes: frozenset[Scope]
    sign_in: SignIn = field(default=SignIn(), compare=False)

    @property
    def is_local(self) -> bool:
        """Whether this is the user of the machine, who has not signed in and reads its files."""
        return self.id == LOCAL_ID

    def may(self, scope: Scope) -> bool:
        """Whether a scope was granted, by itself or within another."""
        return any(scope == granted or scope in _INCLUDED.get(granted, ()) for granted in self.scopes)

    @property
    def sees(self) -> str | None:
        """Whose orders this principal sees: those of an id, or everybody's where this is None."""
        return None if self.may(Scope.ADMIN) else self.id


LOCAL_ID = "local"
LOCAL = Principal(LOCAL_ID, frozenset(Scope))
"""The user of the machine: over stdio, at a terminal, and over HTTP where nobody signs in."""

NOBODY = Principal("", frozenset())
"""Who has not signed in where people do: nothing is theirs, and they may do nothing."""

_current: ContextVar[Principal] = ContextVar("principal", default=LOCAL)


def current_principal() -> Principal:
    """Give who has made the call that runs now."""
    return _current.get()


@contextmanager
def acting_as(principal: Principal) -> Generator[None]:
    """Let what runs inside be a call of a principal."""
    token = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(token)


def name_principal(principal_id: str) -> str:
    """Give the name by which people know a principal of this id: that of a token, or an issuer's subject."""
    if principal_id == LOCAL_ID:
        return "the user of the machine"
    _, mark, subject = principal_id.partition("#")
    return subject if mark else principal_id.partition(":")[2]
