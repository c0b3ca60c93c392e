"""Worker processes: started, sent calls, killed, stopped and resumed."""

import importlib.util
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.fork_server import ForkedProcess, start


@dataclass(eq=False)
class Worker:
    """One process; `calls` are the lines it was sent and has not answered."""

    process: ForkedProcess
    is_ready: bool = False
    is_stopped: bool = False
    calls: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid


Event = tuple[Worker, dict[str, Any] | None]


class WorkerPool:
    """Workers on one folder. Their lines come out of `events`, and None when one has ended."""

    def __init__(
        self,
        folder: Path,
        base_url: str,
        image_host: str,
        timings: Mapping[str, Any],
        *,
        ledger_url: str | None = None,
    ) -> None:
        self._options = ["--folder", str(folder), "--base-url", base_url]
        self._options += ["--image-host", image_host, "--timings", json.dumps(timings)]
        self._options += ["--ledger-url", ledger_url] if ledger_url else []
        self._errors = folder / "workers.log"
        self.events: queue.Queue[Event] = queue.Queue()
        self.workers: list[Worker] = []

    def start(self, *options: str) -> Worker:
        """Start one more worker; it says when it is ready."""
        with self._errors.open("ab") as errors:
            process = start("campaigns.worker", *self._options, *options, stderr=errors.fileno())
        worker = Worker(process)
        self.workers.append(worker)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def next_event(self, seconds: float) -> Event | None:
        """Give the next line, or None if none comes in time."""
        try:
            worker, line = self.events.get(timeout=seconds)
        except queue.Empty:
            return None
        if line is None:
            worker.process.wait()
            worker.process.stdout.close()
            with suppress(BrokenPipeError):  # what it was sent last, it did not read
                worker.process.stdin.close()
            self.workers.remove(worker)
        elif "ready" in line:
            worker.is_ready = True
        return worker, line

    def send(self, worker: Worker, line: Mapping[str, Any]) -> None:
        """Send a worker a line; one that has just died does not read it."""
        worker.calls[line["id"]] = line
        try:
            worker.process.stdin.write((json.dumps(line) + "\n").encode())
        except BrokenPipeError:
            # Its end is on the way as an event, and the call goes to another then.
            return

    def kill(self, worker: Worker) -> None:
        """End a worker without warning, and wait until the system has removed it."""
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()

    def stop(self, worker: Worker) -> None:
        """Hold a worker still, as a laptop's lid does."""
        worker.is_stopped = True
        worker.process.stop()

    def resume(self, worker: Worker) -> None:
        """Let a stopped worker go on."""
        worker.is_stopped = False
        worker.process.send_signal(signal.SIGCONT)

    def find(self, owner: str) -> Worker | None:
        """Find the worker of an owner token of the ledger: host, process id, chance."""
        return next((worker for worker in self.workers if self.is_worker(owner, worker)), None)

    def is_worker(self, owner: str, worker: Worker) -> bool:
        """Say whether an owner token is that of a worker."""
        return owner.split("/")[-2] == str(worker.pid)

    def read_errors(self) -> str:
        """Give what the workers wrote on standard error."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    def kill_all(self) -> None:
        """Kill every worker and wait for the last of their lines."""
        for worker in list(self.workers):
            self.kill(worker)
        deadline = time.monotonic() + 10
        while self.workers and time.monotonic() < deadline:
            self.next_event(0.1)

    def _listen(self, worker: Worker) -> None:
        for line in worker.process.stdout:
            # A kill may cut the last line short; what is not whole was not said.
            if line.endswith(b"\n"):
                self.events.put((worker, json.loads(line)))
        self.events.put((worker, None))


def find_paths() -> str:
    """Give the folders from which this process imports the program, for those that it starts."""
    specs = [importlib.util.find_spec(name) for name in ("wan_mcp", "wan_mcp_tools")]
    roots = [str(Path(place).resolve().parent) for spec in specs for place in spec.submodule_search_locations]
    return os.pathsep.join([*dict.fromkeys(roots)])
