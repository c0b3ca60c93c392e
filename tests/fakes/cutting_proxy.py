"""A way to a server that can be cut at a chosen moment: after a request has passed, before its answer comes back."""

import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_NOTICE = b"A"
"""The type of the message that tells a client that listens; it comes by itself, while nothing is asked."""


class CuttingProxy:
    """
    Listens on a socket of its own and passes bytes on to a server's socket.

    With `cut_after` set, the first message that holds these bytes still reaches the server; when the server has
    answered it, both ends are closed and the answer is lost. With `keeps_notices` what others tell stays here, as it
    does at a pooler that hands out connections by the transaction.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self.url = ""
        """The address of a database behind it."""
        self.cut_after: bytes | None = None
        self.cuts = 0
        self.keeps_notices = False
        # The name that clients of the database look for in the folder.
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / target.name))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._target))
            self._open += [client, server]
            doomed = threading.Event()
            threading.Thread(target=self._pass_requests, args=(client, server, doomed), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(server, client, doomed), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := client.recv(65_536):
                if self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    doomed.set()
                server.sendall(data)
        except OSError:
            pass
        finally:
            _close(client, server)

    def _pass_answers(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := server.recv(65_536):
                if doomed.is_set():
                    self.cuts += 1
                    return
                if self.keeps_notices and data.startswith(_NOTICE):
                    continue
                client.sendall(data)
        except OSError:
            pass
        finally:
            _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@contextmanager
def open_proxy(url: str) -> Generator[CuttingProxy]:
    """Give a proxy before a database whose address names the folder of its socket."""
    folder = parse_qs(urlsplit(url).query)["host"][0]
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory() as short:
        proxy = CuttingProxy(Path(folder, ".s.PGSQL.5432"), Path(short))
        proxy.url = url.replace(folder.replace("/", "%2F"), short.replace("/", "%2F"))
        try:
            yield proxy
        finally:
            proxy.close()
