"""A way to an HTTP server that can refuse for a while: it answers 503 in the server's place, or closes every connection."""

import socket
import threading
from contextlib import suppress
from typing import Self

_REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class RefusingProxy:
    """
    Passes bytes on to a server on loopback. While `is_refusing`, the server hears nothing.

    `refused` counts the connections that were refused, `passed` those that were let through.
    """

    def __init__(self, port: int, *, answers: bool = True) -> None:
        self._target = port
        self._answers = answers
        self.is_refusing = False
        self.refused = 0
        self.passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def refuse(self) -> None:
        """Refuse from now on, and cut what is open."""
        self.is_refusing = True
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        for each in self._open:
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            if self.is_refusing:
                self.refused += 1
                self._start(self._refuse, client)
                continue
            self.passed += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.append(server)
            self._start(self._pass, client, server)
            self._start(self._pass, server, client)

    def _start(self, target, *sockets: socket.socket) -> None:
        thread = threading.Thread(target=target, args=sockets, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _refuse(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._answers:
                client.recv(65_536)
                client.sendall(_REFUSAL)
        _close(client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        _close(source)
        _close(target)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
