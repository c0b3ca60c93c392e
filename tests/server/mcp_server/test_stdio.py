"""The server over its two pipes: every line is answered, whatever stands in it, and none ends the server."""

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fakes.clock import LONGEST
from fakes.stdio_client import ERAS, environment

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Line:
    """A client that writes lines as they are."""

    def __init__(self, process: subprocess.Popen[bytes], era: str) -> None:
        self._process = process
        self._era = era

    def request(self, number, method="tools/list", **params) -> bytes:
        if self._era == "auto":
            params["_meta"] = META
        message = {"method": method, "params": params, "jsonrpc": "2.0", "id": number}
        return json.dumps(message).encode() + b"\n"

    def say(self, line: bytes) -> None:
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def answer(self) -> dict:
        return json.loads(self._process.stdout.readline())

    def ask(self, line: bytes) -> dict:
        self.say(line)
        return self.answer()

    def close(self) -> int:
        self._process.stdin.close()
        return self._process.wait(LONGEST)


@contextmanager
def server(folder: Path, era: str, first: bytes = b"") -> Generator[Line]:
    """Start a server and greet it; `first` stands before the greeting."""
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(folder),
    ) as process:
        line = Line(process, era)
        try:
            if era == "legacy":
                client = {"name": "test", "version": "1"}
                hello = line.request(
                    0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client
                )
                assert "result" in line.ask(first + hello)
                line.say(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
            else:
                assert "result" in line.ask(first + line.request(0))
            yield line
        finally:
            process.kill()


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Generator[dict[str, Line]]:
    """A server for each era that answers many tests; a mark of the encoding stands before its first message."""
    with ExitStack() as stack:
        yield {era: stack.enter_context(server(tmp_path_factory.mktemp(era), era, b"\xef\xbb\xbf")) for era in ERAS}


@pytest.fixture(params=ERAS)
def line(request, lines) -> Line:
    return lines[request.param]


def test_what_stands_before_the_first_message_keeps_nobody_from_being_served(line):
    assert line.ask(line.request(1))["id"] == 1


def test_every_line_that_cannot_be_read_is_answered_under_its_id_and_the_server_goes_on(line):
    number = 0
    for damage in (
        rb'"\ud83d"',
        b"1" * 5_000,
        b"[" * 300 + b"]" * 300,
        b"[" * 100_000,
        b'"\xff\xfe"',
        b'"' + b"x" * 40_000_000 + b'"',
        b'"a',
    ):
        number += 2
        told = line.ask(line.request(number, x="here").replace(b'"here"', damage))
        assert told["id"] == number
        assert told["error"]["code"] in (-32700, -32600)
        assert len(json.dumps(told)) < 1_000
        whole = line.ask(line.request(number + 1))
        assert whole["id"] == number + 1
        assert len(whole["result"]["tools"]) == 7


@pytest.mark.parametrize("era", ERAS)
def test_lines_that_are_no_messages_are_answered_too_and_the_last_one_without_an_end(tmp_path, era):
    with server(tmp_path, era, first=b"\n\n") as line:
        told = line.ask(b"hello\n")
        assert (told["id"], told["error"]["code"]) == (None, -32700)
        told = line.ask(b'{"jsonrpc":"2.0","id":5,"method":"tools/list","params":[]}\n')
        assert (told["id"], told["error"]["code"]) == (5, -32600)
        told = [line.ask(b"[" + line.request(6).strip() + b"," + line.request(7).strip() + b"]\n"), line.answer()]
        assert [each["id"] for each in told] == [6, 7]
        assert line.ask(b"\n  \r\n" + line.request(8).replace(b"\n", b"\r\n"))["id"] == 8
        line.say(line.request(9).strip().replace(b'{"method"', b'{"id": 9, "method"')[:-20])
        assert line.close() == 0
        assert line.answer()["id"] == 9


def test_errors_of_the_connection_itself_are_short_too(line):
    huge = "9" * 1_000_000
    for request in (
        line.request(
            1, "initialize", protocolVersion=huge, capabilities={}, clientInfo={"name": "x", "version": "1"}
        ),
        line.request(2, "tools/call", name="x").replace(b"2026-07-28", huge.encode()),
        line.request(3, "x" * 250),
        line.request(4, "tools/" + "x" * 1_000_000),
    ):
        assert len(json.dumps(line.ask(request))) < 2_000


def test_a_server_that_is_started_without_a_stdin_ends(tmp_path):
    done = subprocess.run(
        f"exec {sys.executable} -m wan_mcp <&-",
        shell=True,
        capture_output=True,
        timeout=LONGEST,
        check=False,
        env=environment(tmp_path),
    )

    assert b"Traceback" not in done.stderr


def test_an_argument_of_ten_megabytes_is_told_by_its_name_and_at_once(line):
    for number, name in enumerate(("region", "filename", "prompt", "wish"), start=1):
        arguments = {"prompt": "x", name: "x" * 10_000_000}
        started = time.monotonic()
        told = line.ask(line.request(number, "tools/call", name="generate_image", arguments=arguments))
        assert time.monotonic() - started < LONGEST
        assert told["id"] == number
        assert told["result"]["isError"]
        assert f"{name!r}" in told["result"]["content"][0]["text"]
        assert len(json.dumps(told)) < 2_000
