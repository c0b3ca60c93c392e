"""A real object store (`rclone serve s3` from a wheel): one for all processes of a test run, a bucket for each test."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "TESTS_S3_FOLDER"
"""The environment variable that tells every process of a test run where the server's files lie."""
KEY_ID, KEY = "tests-access-key-id", "tests-secret-access-key"
_SECONDS = 30.0
_STARTED: list[subprocess.Popen[bytes]] = []
"""Servers that outlive the process that started them; where it is this one, it waits for their end."""


@dataclass(frozen=True)
class Bucket:
    """A bucket of the run's server; `folder` is where its objects lie, by their keys."""

    endpoint: str
    name: str
    folder: Path

    def environ(self, prefix: str = "pictures", **changes: str) -> dict[str, str]:
        """Give the settings that lead there."""
        return {
            "WAN_MCP_STORAGE_URL": f"s3://{self.name}/{prefix}",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_ALLOW_HTTP": "1",
        } | changes

    def list_keys(self) -> list[str]:
        """Give the keys of all objects but the probe, which is there to be written."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(key for key in found if not key.endswith(".wan-mcp-probe"))


def choose_folder() -> Path:
    """Choose where the server of this test run lies: the first process does, the others are told."""
    name = os.environ.setdefault(
        FOLDER_VARIABLE, str(Path(tempfile.gettempdir(), f"wan-mcp-s3-{secrets.token_hex(4)}"))
    )
    return Path(name)


def start_server(folder: Path) -> str:
    """Give the address of the run's server, which the first process that asks for it starts."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "started").exists():
            (folder / "started").write_text(json.dumps(_begin(folder)))
    return json.loads((folder / "started").read_text())["endpoint"]


def stop_server(folder: Path) -> None:
    """Stop the run's server, if there is one, and remove its files."""
    with suppress(FileNotFoundError):
        os.kill(json.loads((folder / "started").read_text())["pid"], signal.SIGKILL)
        for server in _STARTED:
            server.wait(_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def make_bucket(endpoint: str) -> Bucket:
    """Make an empty bucket."""
    name = f"bucket-{secrets.token_hex(6)}"
    folder = choose_folder() / "data" / name
    folder.mkdir()
    return Bucket(endpoint, name, folder)


def _begin(folder: Path) -> dict[str, object]:
    (folder / "data").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = Path(sysconfig.get_path("scripts"), "rclone")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                *(str(program), "serve", "s3", str(folder / "data"), "--addr", f"127.0.0.1:{port}"),
                *("--auth-key", f"{KEY_ID},{KEY}", "--config", os.devnull, "--dir-cache-time", "1ms"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _STARTED.append(server)
    ends, pause = time.monotonic() + _SECONDS, threading.Event()
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return {"pid": server.pid, "endpoint": f"http://127.0.0.1:{port}"}
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < ends, (folder / "log").read_text()
        pause.wait(0.02)
