"""
Several real processes on one ledger, told what to do line by line.

    with Processes(4) as processes:
        answers = processes.run_all("place", path=..., count=10)

Every process is ready before the first one starts, so that they meet inside the ledger.
"""

import json
import subprocess
import threading
from pathlib import Path
from typing import Self

from fakes.fork_server import ForkedProcess, start

_LONGEST = 100.0
"""Seconds after which the processes are ended, whatever they do: a little before the test itself is."""


class Processes:
    def __init__(self, count: int, program: str = "fakes.ledger_process") -> None:
        self._count = count
        self._program = program
        self._processes: list[ForkedProcess] = []
        self._watchdog = threading.Timer(_LONGEST, self._end)

    def __enter__(self) -> Self:
        self._processes = [start(self._program) for _ in range(self._count)]
        self._watchdog.start()
        self._read_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        for process in self._processes:
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def run_all(self, command: str, *, path: Path, **options) -> list[dict]:
        """Give every process the same command at once; give the answers."""
        for process in self._processes:
            line = json.dumps({"command": command, "path": str(path), **options}) + "\n"
            process.stdin.write(line.encode())
        return self._read_all()

    def _read_all(self) -> list[dict]:
        lines = [process.stdout.readline() for process in self._processes]
        assert all(lines), "a process of the test ended early, or took too long"
        return [json.loads(line) for line in lines]

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
