"""
Programs of the tests as processes that begin at once: forked from one that has imported everything already.

    process = start("campaigns.worker", "--folder", str(folder))

A program is a module with a `main` that takes no arguments. Its process is like one that was started by its file: it
has standard streams of its own and may be killed, held still and waited for. To import what it needs takes longer than
most programs of the tests do, so one process does that for all that are started here.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_IMPORTED = (
    "anyio._backends._asyncio",
    "httpx",
    "truststore",
    "psycopg",
    "psycopg_pool",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "wan_mcp.dashscope.http_clients",
    "wan_mcp.dashscope.image_download",
    "wan_mcp.dashscope.upload",
    "wan_mcp.ledger.backends.postgres",
)
"""What programs import only where they need it."""
_LARGEST_REQUEST = 256 * 1024
_STOPPED = "stopped"


class ForkedProcess:
    """A process of a program, with the words of `subprocess.Popen`; its streams are binary."""

    def __init__(self, pid: int, stdin: int, stdout: int, changes: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb", buffering=0)
        self.stdout = os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._changes = os.fdopen(changes, "rb", buffering=0)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Give the exit code, negative for a signal; None while the process runs."""
        self._read_changes(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """
        Wait for the end, and give the exit code.

        Raises:
            subprocess.TimeoutExpired: it has not come in time.
        """
        self._read_changes(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process without warning."""
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """Hold the process still, and return when it is."""
        self.send_signal(signal.SIGSTOP)
        self._read_changes(None, until=_STOPPED)

    def close(self) -> None:
        """Close the streams to the process and from it."""
        self.stdin.close()
        self.stdout.close()

    def _read_changes(self, seconds: float | None, until: str | None = None) -> None:
        """Read what becomes of the process: to its end, or until it has changed so, or for so many seconds."""
        with self._lock:
            while self.returncode is None and select.select([self._changes], [], [], seconds)[0]:
                # It ends with the process, or with the whole server, which ends with this one.
                change = self._changes.readline().decode().strip()
                if change == _STOPPED:
                    if until == _STOPPED:
                        return
                    continue
                self.returncode = int(change or -signal.SIGKILL)
                self._changes.close()


class _ForkServer:
    """The process from which the others are forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fakes.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
            )
        atexit.register(self._end)

    def start(
        self, module: str, arguments: Sequence[str], *, stderr: int, environ: Mapping[str, str], folder: Path
    ) -> ForkedProcess:
        request = {"module": module, "arguments": arguments, "environ": dict(environ), "folder": str(folder)}
        (stdin, to_stdin), (from_stdout, stdout), (changes, to_changes) = os.pipe(), os.pipe(), os.pipe()
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], [stdin, stdout, stderr, to_changes])
            answer = self._control.recv(64)
        for theirs in (stdin, stdout, to_changes):
            os.close(theirs)
        assert answer, f"{module} cannot be started: see standard error"
        return ForkedProcess(int(answer), to_stdin, from_stdout, changes)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


_find_server = cache(_ForkServer)


def start(
    module: str,
    *arguments: str,
    stderr: int = 2,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> ForkedProcess:
    """Start a program; `stderr` is the descriptor that it writes errors to, `folder` where it works."""
    return _find_server().start(
        module,
        arguments,
        stderr=stderr,
        environ=os.environ if environ is None else environ,
        folder=folder or Path.cwd(),
    )


# --- the process itself ----------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> Callable[[], object] | None:
    """Fork what is asked for, until nobody can ask any more. In the forked process: give the program."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_changes(children)
        if control not in ready:
            continue
        data, streams, _, _ = socket.recv_fds(control, _LARGEST_REQUEST, 4)
        if not data:
            return None
        request = json.loads(data)
        program = importlib.import_module(request["module"])
        gc.freeze()
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, stream in enumerate(streams[:3]):
                os.dup2(stream, number)
            for mine in (woken, wake, control.detach(), *streams, *children.values()):
                os.close(mine)
            os.environ.clear()
            os.environ.update(request["environ"])
            os.chdir(request["folder"])
            sys.argv = [program.__file__, *request["arguments"]]
            return program.main
        *theirs, children[pid] = streams
        for stream in theirs:
            os.close(stream)
        control.sendall(b"%d" % pid)


def _tell_changes(children: dict[int, int]) -> None:
    """Tell of each process that was held still or has ended; of the latter nothing is kept."""
    for pid, told in list(children.items()):
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if not found:
            continue
        is_stopped = os.WIFSTOPPED(status)
        with suppress(BrokenPipeError):
            os.write(told, f"{_STOPPED if is_stopped else os.waitstatus_to_exitcode(status)}\n".encode())
        if not is_stopped:
            os.close(told)
            del children[pid]


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    main = _serve(socket.socket(fileno=int(sys.argv[1])))
    if main is not None:
        main()
