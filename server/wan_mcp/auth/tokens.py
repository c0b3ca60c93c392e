"""
Static tokens: a file of names, digests and scopes.

A line is `NAME:SHA256[:SCOPE,SCOPE]`, the digest in hex; without scopes a token may read. Empty lines and lines that
begin with `#` say nothing. The tokens themselves are written nowhere: who has lost one gets another.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread

from wan_mcp.clock import Clock
from wan_mcp.settings.files import read_plain_file
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.principals import Principal, Scope, SignIn
from wan_mcp_tools.domain.record import Record

TOKEN_PREFIX = "wanmcp_"  # noqa: S105 - how every token begins, so that it is known for one where it should not be
_RANDOM_BYTES = 32
_MOST_BYTES = 1 << 20
_LOOK_SECONDS = 1.0
"""How long the file is believed to be as it was."""
_PARTS = (2, 3)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_PRINCIPAL = "token:"
"""How the ids of those begin who come with a token of the file."""
_SHOWN_DIGITS = 32
"""Of a digest, so that a token is told from the next one of its name; nobody finds a token by them."""
_SETTING = "WAN_MCP_TOKENS_FILE"

_log = logging.getLogger(__name__)


class StaticToken(Record):
    """A token as the file has it; `line` counts from 1."""

    name: str
    digest: bytes
    scopes: frozenset[Scope]
    line: int

    @property
    def principal(self) -> Principal:
        """Who comes with it. No issuer's address begins so, and no name holds a colon."""
        return Principal(f"{_PRINCIPAL}{self.name}", self.scopes, SignIn(token=self.digest.hex()[:_SHOWN_DIGITS]))


def is_static(principal: Principal) -> bool:
    """Say whether somebody has signed in with a token of the file."""
    return principal.id.startswith(_PRINCIPAL)


def make_token() -> str:
    """Make a token by chance."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def parse_scopes(text: str) -> frozenset[Scope]:
    """
    Read scopes that commas separate.

    Raises:
        ValueError: one of them is none, or there is none.
    """
    return frozenset(Scope(part.strip()) for part in text.split(","))


def parse_tokens(text: str) -> tuple[StaticToken, ...]:
    """
    Read the tokens of a file's text.

    Raises:
        ValueError: a line cannot be understood; the message names it and never quotes it, for it may hold a token.
    """
    found: list[StaticToken] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token = _parse_line(line.strip(), number)
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from None
        for other in found:
            if other.name == token.name:
                raise ValueError(f"line {number} has the name of line {other.line}")
            if hmac.compare_digest(other.digest, token.digest):
                raise ValueError(f"line {number} has the digest of line {other.line}")
        found.append(token)
    return tuple(found)


def read_tokens(path: Path) -> tuple[StaticToken, ...]:
    """
    Read the file of tokens.

    Raises:
        SettingsError: there is none, or it cannot be read or understood.
    """
    return _parse(path, _read(path))


def add_token(path: Path, name: str, scopes: frozenset[Scope]) -> str:
    """
    Add a token to the file, which is made if there is none, and give the token.

    Raises:
        SettingsError: the name is taken or cannot be one, or the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            "That cannot be the name of a token.",
            "Use up to 64 letters, digits and . _ @ -, beginning with a letter or a digit.",
        )
    with _Replacement(path) as replacement:
        text = _read(path) if path.exists() else ""
        if any(token.name == name for token in _parse(path, text)):
            raise SettingsError(
                f"There is a token {name} already.", f"Choose another name, or run: wan-mcp token revoke {name}"
            )
        token = make_token()
        listed = ",".join(sorted(scopes))
        start = text if not text or text.endswith("\n") else f"{text}\n"
        replacement.write(f"{start}{name}:{_digest(token).hex()}:{listed}\n")
    return token


def remove_token(path: Path, name: str) -> None:
    """
    Remove a token from the file.

    Raises:
        SettingsError: there is none of that name, or the file cannot be read or written.
    """
    with _Replacement(path) as replacement:
        text = _read(path)
        found = next((token for token in _parse(path, text) if token.name == name), None)
        if found is None:
            raise SettingsError("There is no token of that name.", "Run wan-mcp token list to see those that are.")
        lines = text.splitlines(keepends=True)
        replacement.write("".join(lines[: found.line - 1] + lines[found.line :]))


class TokenFile:
    """
    The tokens as the file has them now.

    It is read again when it has changed, which is looked at once a second. While it cannot be read or understood
    nobody signs in by it.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = anyio.Lock()
        self._looked_at: float | None = None
        self._version: object = None
        self._tokens: tuple[StaticToken, ...] = ()

    async def find(self, text: str) -> Principal | None:
        """Find who comes with a token."""
        digest = _digest(text)
        found = None
        # Every one is compared, whichever it is: how long that takes tells nothing.
        for token in await self._refresh():
            if hmac.compare_digest(token.digest, digest):
                found = token.principal
        return found

    async def confirm(self, principal: Principal) -> Principal | None:
        """
        Give somebody who has signed in by the file with what is still allowed; None if that is nothing any more.

        It has to be the same token: who comes with the next one of its name may be somebody else.
        """
        for token in await self._refresh():
            now = token.principal
            if now.id == principal.id and now.sign_in.token == principal.sign_in.token:
                kept = frozenset(each for each in Scope if principal.may(each) and now.may(each))
                return replace(principal, scopes=kept)
        return None

    async def _refresh(self) -> tuple[StaticToken, ...]:
        if self._is_due():
            # One at a time: of two that look, the one with the older tokens could be the last to say what holds.
            async with self._lock:
                if self._is_due():
                    now = self._clock.monotonic()
                    await to_thread.run_sync(self._look)
                    self._looked_at = now
        return self._tokens

    def _is_due(self) -> bool:
        return self._looked_at is None or self._clock.monotonic() - self._looked_at >= _LOOK_SECONDS

    def _look(self) -> None:
        try:
            facts = self._path.stat()
            version: object = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        except OSError:
            version = None
        if version == self._version and version is not None:
            return
        try:
            self._tokens = read_tokens(self._path)
        except SettingsError as error:
            if self._tokens or version != self._version:
                _log.error("%s Nobody signs in by it until that is corrected.", error.message)
            self._tokens = ()
        self._version = version


class _Replacement:
    """
    The next version of a file, beside it until it takes its place at once.

    Its name is the same for everybody, so that two who change the file do not undo each other's work.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.new")
        self._has_taken_place = False

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._next, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError as error:
            raise SettingsError(
                f"{self._next} is there: the file of tokens is being changed.",
                "Try again in a moment; remove that file if no wan-mcp token runs.",
            ) from error
        except OSError as error:
            raise self._explain(error) from error
        return self

    def write(self, text: str) -> None:
        """Write the whole text, and let it take the file's place."""
        try:
            with self._next.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self._next.replace(self._path)
            self._has_taken_place = True
        except OSError as error:
            raise self._explain(error) from error

    def __exit__(self, *_: object) -> None:
        # What is there now under this name may be somebody else's already.
        if not self._has_taken_place:
            with suppress(OSError):
                self._next.unlink()

    def _explain(self, error: OSError) -> SettingsError:
        return SettingsError(f"The file of tokens cannot be written: {error.strerror}.", f"{_SETTING} names it.")


def _digest(token: str) -> bytes:
    # A token has 256 bits of chance: nobody finds it by trying, however quick a digest is.
    return hashlib.sha256(token.encode()).digest()


def _read(path: Path) -> str:
    try:
        return read_plain_file(path, _MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise SettingsError(
            f"The file of tokens {path} is not there.", f"Run wan-mcp token create, or correct {_SETTING}."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"The file of tokens {path} cannot be read: {error.strerror}.", f"Correct {_SETTING}."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The file of tokens {path} is no UTF-8 text.", f"Correct {_SETTING}.") from error


def _parse(path: Path, text: str) -> tuple[StaticToken, ...]:
    try:
        return parse_tokens(text)
    except ValueError as error:
        raise SettingsError(
            f"The file of tokens {path} cannot be used: {error}.",
            "A line is NAME:DIGEST:SCOPE,SCOPE, as wan-mcp token create writes it.",
        ) from error


def _parse_line(line: str, number: int) -> StaticToken:
    # A scope holds a colon itself.
    parts = [part.strip() for part in line.split(":", maxsplit=2)]
    if len(parts) not in _PARTS:
        raise ValueError("is no name and digest with a colon between them")
    if not _NAME.fullmatch(parts[0]):
        raise ValueError("begins with what cannot be a name")
    if not _DIGEST.fullmatch(parts[1]):
        raise ValueError("has no SHA-256 digest of 64 hex digits after the name")
    try:
        scopes = parse_scopes(parts[2]) if len(parts) > _PARTS[0] else frozenset({Scope.READ})
    except ValueError:
        raise ValueError(f"has a scope that is none of {', '.join(Scope)}") from None
    return StaticToken(parts[0], bytes.fromhex(parts[1]), scopes, number)
