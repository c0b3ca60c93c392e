"""Replicas of a team's server: real processes that are started, killed and started again at the same port."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from campaigns.worker_pool import find_paths
from fakes.dashscope import FakeService
from fakes.fork_server import ForkedProcess, start
from wan_mcp.auth.tokens import add_token
from wan_mcp_tools.domain.principals import Scope

_HERE = "127.0.0.1"


@dataclass(eq=False)
class Replica:
    """One process, and the place among the replicas that it has; `is_ready` once it answers."""

    number: int
    process: subprocess.Popen[bytes] | ForkedProcess
    is_ready: bool = False
    is_stopped: bool = False


class ReplicaPool:
    """
    Replicas with a state folder and a port each; what they share is in `environ`.

    `command` starts the program, `timings` are other times than its own. What the replicas write on standard error is
    in `errors`, and in a log in each one's folder.
    """

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        environ: Mapping[str, str],
        *,
        command: Sequence[str] | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> None:
        self.ports = list(ports)
        self.errors: list[str] = []
        self._folder = folder
        self._environ = {**_keep(os.environ), "PYTHONPATH": find_paths(), **environ}
        self._command = list(command or [sys.executable, "-m", "wan_mcp"])
        self._timings = timings
        self._replicas: dict[int, Replica] = {}

    @property
    def workers(self) -> list[Replica]:
        """Those that answer."""
        return [replica for replica in self._replicas.values() if replica.is_ready]

    @property
    def missing(self) -> list[int]:
        """The numbers of those that are not running."""
        running = {number for number, each in self._replicas.items() if each.process.poll() is None}
        return [number for number in range(len(self.ports)) if number not in running]

    def start(self, number: int) -> None:
        """Start a replica at its port."""
        port = str(self.ports[number])
        folder = self._find_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        environ = self._environ | {
            "HOME": str(folder),
            "WAN_MCP_STATE_DIR": str(folder / "state"),
            "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
        }
        errors, stderr = os.pipe()
        if self._timings is None:
            command = [*self._command, "serve", "--transport", "http", "--port", port]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, cwd=folder, env=environ)
        else:
            times = json.dumps(dict(self._timings))
            process = start("campaigns.replica", port, times, stderr=stderr, environ=environ, folder=folder)
        os.close(stderr)
        replica = self._replicas[number] = Replica(number, process)
        threading.Thread(target=self._listen, args=(replica, errors), daemon=True).start()

    def kill(self, replica: Replica) -> None:
        """End a replica without warning, and wait until the system has removed it."""
        replica.is_ready = False
        replica.process.send_signal(signal.SIGKILL)
        replica.process.wait()
        if isinstance(replica.process, ForkedProcess):
            replica.process.close()

    def kill_all(self) -> None:
        """Kill every replica."""
        for replica in self._replicas.values():
            self.kill(replica)

    def find(self, owner: str) -> Replica | None:
        """Find the replica of an owner token of the ledger: host, process id, chance."""
        return next((replica for replica in self.workers if self.is_worker(owner, replica)), None)

    def is_worker(self, owner: str, replica: Replica) -> bool:
        """Say whether an owner token is that of a replica."""
        return owner.split("/")[-2] == str(replica.process.pid)

    def leftovers(self) -> list[Path]:
        """Give the temporary files of images that lie in the state folders."""
        return sorted(self._folder.glob("replica-*/state/spool/*.part"))

    def _listen(self, replica: Replica, errors: int) -> None:
        with (
            os.fdopen(errors, errors="replace") as lines,
            (self._find_folder(replica.number) / "log").open("a") as log,
        ):
            for line in lines:
                if "serves at" in line:
                    replica.is_ready = True
                self.errors.append(f"replica {replica.number + 1}: {line.rstrip()}")
                log.write(line)

    def _find_folder(self, number: int) -> Path:
        return self._folder / f"replica-{number + 1}"


def find_ports(count: int) -> list[int]:
    """Find free ports."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((_HERE, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def make_environ(
    dashscope: FakeService | None, *, ledger_url: str, storage: Mapping[str, str], tokens: Path, public_url: str
) -> dict[str, str]:
    """Give the settings that all replicas share; without a service they have the sandbox."""
    service = {"DASHSCOPE_REGION": "sandbox"}
    if dashscope is not None:
        service = {
            "DASHSCOPE_REGION": "singapore",
            "DASHSCOPE_API_KEY": "sk-campaign-singapore",
            "DASHSCOPE_HTTP_BASE_URL": dashscope.base_url,
            "WAN_MCP_IMAGE_HOSTS": dashscope.image_host,
        }
    return {
        **service,
        "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
        "WAN_MCP_LEDGER_URL": ledger_url,
        "WAN_MCP_SECRET_KEY": secrets.token_hex(32),
        "WAN_MCP_TOKENS_FILE": str(tokens),
        "WAN_MCP_PUBLIC_URL": public_url,
        **storage,
    }


def make_tokens(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Write a file of tokens that may order and cancel; give each name's."""
    scopes = frozenset({Scope.ORDER, Scope.CANCEL})
    return {name: add_token(path, name, scopes) for name in names}


def _keep(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(("WAN_MCP_", "DASHSCOPE_", "AWS_"))}
