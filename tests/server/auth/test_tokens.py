"""The file of static tokens: what it holds, who changes it, and what happens when it is wrong."""

import hashlib
import os
import stat
import sys
import threading
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from fakes.clock import FakeClock
from wan_mcp.auth.tokens import TokenFile, add_token, make_token, parse_tokens, read_tokens, remove_token
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.principals import Scope

DIGEST = "ab" * 32
ORDER = frozenset({Scope.ORDER})


def test_a_line_has_a_name_a_digest_and_scopes():
    text = f"# the team\n\n  ada:{DIGEST}:wan:order, wan:cancel  \nbot : {'CD' * 32}\n"

    ada, bot = parse_tokens(text)

    assert (ada.name, ada.digest, ada.scopes, ada.line) == (
        "ada",
        bytes.fromhex(DIGEST),
        {Scope.ORDER, Scope.CANCEL},
        3,
    )
    assert (bot.name, bot.scopes) == ("bot", {Scope.READ})


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("wanmcp_secret", "is no name and digest"),
        ("a b:" + DIGEST, "begins with what cannot be a name"),
        (":" + DIGEST, "begins with what cannot be a name"),
        ("ada:wanmcp_secret", "has no SHA-256 digest"),
        (f"ada:{DIGEST}:wan:order,wan:fly-secret", "has a scope that is none of wan:read, wan:order"),
        (f"ada:{DIGEST}:", "has a scope that is none of"),
        (f"ada:{DIGEST}:wan:read:5", "has a scope that is none of"),
        (f"one:{'12' * 32}", "has the name of line 1"),
        (f"two:{'34' * 32}", "has the digest of line 1"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named_and_never_quoted(tmp_path, line, trouble):
    path = tmp_path / "tokens"
    path.write_text(f"one:{'34' * 32}\n{line}\n")

    with pytest.raises(SettingsError) as error:
        read_tokens(path)

    assert f"line 2 {trouble}" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_token_is_long_and_known_by_its_beginning():
    tokens = {make_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(token.startswith("wanmcp_") and len(token) >= len("wanmcp_") + 43 for token in tokens)


async def test_a_token_is_kept_as_a_digest_and_lets_in(tmp_path):
    path = tmp_path / "new" / "tokens"

    token = await to_thread.run_sync(add_token, path, "ada", ORDER)

    assert await to_thread.run_sync(path.read_text) == f"ada:{hashlib.sha256(token.encode()).hexdigest()}:wan:order\n"
    assert stat.S_IMODE((await to_thread.run_sync(path.stat)).st_mode) == 0o600 or sys.platform == "win32"
    found = await TokenFile(path, FakeClock()).find(token)
    assert (found.id, found.scopes) == ("token:ada", ORDER)
    assert [each.name for each in await to_thread.run_sync(list, path.parent.iterdir())] == ["tokens"]


def test_what_a_person_wrote_stays_when_tokens_come_and_go(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# the team\nbot:{DIGEST}\n# the end")

    add_token(path, "ada", ORDER)
    add_token(path, "eve", ORDER)
    remove_token(path, "bot")
    remove_token(path, "eve")

    lines = path.read_text().splitlines()
    assert lines[:2] == ["# the team", "# the end"]
    assert [token.name for token in read_tokens(path)] == ["ada"]


@pytest.mark.parametrize("name", ["", "a:b", "a b", "-a", "a\nb", "a" * 65, "ä"])
def test_a_name_that_cannot_stand_in_the_file_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="cannot be the name"):
        add_token(tmp_path / "tokens", name, ORDER)
    assert not (tmp_path / "tokens").exists()


def test_a_name_is_given_once(tmp_path):
    path = tmp_path / "tokens"
    add_token(path, "ada", ORDER)

    with pytest.raises(SettingsError, match="a token ada already"):
        add_token(path, "ada", ORDER)
    with pytest.raises(SettingsError, match="no token of that name"):
        remove_token(path, "eve")


def test_many_who_add_tokens_at_once_undo_nothing(tmp_path):
    path = tmp_path / "tokens"
    made: list[str] = []

    def add(name: str) -> None:
        while True:
            try:
                add_token(path, name, ORDER)
            except SettingsError as error:
                if "is being changed" not in str(error):
                    raise
                continue
            made.append(name)
            return

    threads = [threading.Thread(target=add, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(token.name for token in read_tokens(path)) == sorted(made) == [f"t{number}" for number in range(8)]


async def test_what_is_revoked_or_added_counts_a_second_later(tmp_path):
    path, clock = tmp_path / "tokens", FakeClock()
    ada = await to_thread.run_sync(add_token, path, "ada", ORDER)
    tokens = TokenFile(path, clock)
    assert await tokens.find(ada)
    eve = await to_thread.run_sync(add_token, path, "eve", ORDER)
    await to_thread.run_sync(remove_token, path, "ada")

    assert await tokens.find(ada)
    clock.advance(1)
    assert await tokens.find(ada) is None
    assert (await tokens.find(eve)).id == "token:eve"


class WatchedPath(type(Path())):
    """A path that knows who looked at it, and lets the first one wait a little for others that come meanwhile."""

    threads: set[int]
    met: threading.Event

    def stat(self, **options: bool) -> os.stat_result:
        self.threads.add(threading.get_ident())
        if len(self.threads) > 1:
            self.met.set()
        self.met.wait(0.2)
        return super().stat(**options)


async def test_of_many_who_come_at_once_one_looks_at_the_file(tmp_path):
    path = tmp_path / "tokens"
    ada = await to_thread.run_sync(add_token, path, "ada", ORDER)
    watched = WatchedPath(path)
    watched.threads, watched.met = set(), threading.Event()
    tokens, found = TokenFile(watched, FakeClock()), []

    async def come() -> None:
        found.append(await tokens.find(ada))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(come)

    assert [principal.id for principal in found] == ["token:ada"] * 4
    assert len(watched.threads) == 1


async def test_while_a_folder_or_a_link_to_nothing_stands_in_place_of_the_file_nobody_is_let_in(tmp_path):
    path, clock = tmp_path / "tokens", FakeClock()
    ada = await to_thread.run_sync(add_token, path, "ada", ORDER)
    tokens, text = TokenFile(path, clock), await to_thread.run_sync(path.read_text)
    assert await tokens.find(ada)

    def become_folder() -> None:
        path.unlink()
        path.mkdir()

    def become_link() -> None:
        path.rmdir()
        path.symlink_to(tmp_path / "real")

    for change in (become_folder, become_link):
        await to_thread.run_sync(change)
        clock.advance(1)
        assert await tokens.find(ada) is None
    await to_thread.run_sync((tmp_path / "real").write_text, text)
    clock.advance(1)

    assert await tokens.find(ada)


async def test_while_the_file_is_wrong_or_gone_nobody_is_let_in_and_the_log_says_why(tmp_path, caplog):
    path, clock = tmp_path / "tokens", FakeClock()
    ada = await to_thread.run_sync(add_token, path, "ada", ORDER)
    tokens, text = TokenFile(path, clock), await to_thread.run_sync(path.read_text)
    assert await tokens.find(ada)

    for broken in (lambda: path.write_text(f"{text}wanmcp_secret\n"), path.unlink):
        await to_thread.run_sync(broken)
        for _ in range(3):
            clock.advance(1)
            assert await tokens.find(ada) is None
    await to_thread.run_sync(path.write_text, text)
    clock.advance(1)

    assert await tokens.find(ada)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "line 2 is no name and digest" in told[0]
    assert "is not there" in told[1]
    assert "secret" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_file_that_is_none_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SettingsError, match="it is a pipe"):
        read_tokens(tmp_path / "pipe")
