"""Replicas that end: who watches is told, calls are answered, and others go on at once. With real processes."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import psycopg
import pytest

from fakes.clock import LONGEST, wait_until
from fakes.stdio_client import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")

_opener = build_opener(ProxyHandler({}))


@contextmanager
def replica(folder: Path, postgres_url: str):
    """Start a server on the database at a free port, and give it and its address without a path."""
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "serve", "--transport", "http", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, WAN_MCP_LEDGER_URL=postgres_url, WAN_MCP_SECRET_KEY="k" * 32),
    ) as process:
        try:
            line = process.stderr.readline()
            yield process, line.split("serves at ")[1].split("/mcp")[0]
        finally:
            process.kill()


def status(url: str) -> int | None:
    """Give the status of an answer, None where there is none."""
    try:
        with _opener.open(url, timeout=LONGEST) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code
    except (URLError, ConnectionError):
        return None


def call(url: str, tool: str, **arguments) -> dict:
    """Call a tool and give its result."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with _opener.open(Request(f"{url}/mcp", json.dumps(body).encode(), headers), timeout=70) as answer:
        text = answer.read()
    return json.loads(text.partition(b"data: ")[2] or text)["result"]["structuredContent"]


def test_a_replica_that_ends_says_so_answers_its_calls_and_leaves_its_orders_to_others_at_once(
    tmp_path, postgres_url
):
    def find_owner():
        with psycopg.connect(postgres_url) as connection:
            rows = connection.execute("SELECT owner FROM orders").fetchall()
        return rows[0][0] if rows else None

    with replica(tmp_path, postgres_url) as (first, first_url), replica(tmp_path, postgres_url) as (_, second_url):
        wait_until(lambda: status(f"{first_url}/readyz") == 200)
        answers = []
        caller = threading.Thread(
            target=lambda: answers.append(
                call(first_url, "generate_image", prompt="sandbox:slow fox", wait_seconds=60)
            )
        )
        caller.start()
        wait_until(lambda: call(second_url, "list_tasks")["tasks"])
        wait_until(find_owner)
        owner = find_owner()
        first.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{first_url}/readyz") != 200)
        was_told = status(f"{first_url}/readyz"), status(f"{first_url}/livez")
        # Before the wait of the call would be over.
        assert first.wait(LONGEST) == 0
        # It is given back, or somebody else's already: nobody waits for the end of a lease.
        assert find_owner() != owner
        caller.join(LONGEST)
        wait_until(lambda: find_owner() not in (owner, None))
        assert status(f"{second_url}/readyz") == 200
        # On a busy machine it may be drawn by now.
        status_there = call(second_url, "get_task", task_id=answers[0]["task_id"])["status"]
        assert status_there in ("PENDING", "RUNNING", "SUCCEEDED")

    assert was_told == (503, 200)
    assert answers[0]["status"] in ("PENDING", "RUNNING")
    assert answers[0]["task_id"]
