"""TLS on the loopback: certificates of our own making, a server that shows them, and a proxy that leads to it."""

import datetime as dt
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)

Answer = Callable[[str, str | None], tuple[int, Mapping[str, object]]]
"""Takes the host and the key of a request; gives status and JSON."""


class Authority:
    """Signs certificates; `path` is the file that makes a client trust them."""

    def __init__(self, folder: Path, *, name: str = "Test Authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            self._begin(self._name, self._key.public_key(), days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def certify(self, *names: str, days: int = 30) -> Path:
        """Write a certificate with its key; with negative `days` it is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([_make_name(name) for name in names])
        certificate = (
            self._begin(subject, key.public_key(), days=days)
            .add_extension(alternatives, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{names[0]}{days}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        return path

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 60 * _DAY)
            .not_valid_after(now + days * _DAY)
        )


def _make_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextmanager
def serving_tls(certificate: Path, answer: Answer):
    """Answer requests over TLS; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, body = answer(self.headers["Host"], key)
            content = json.dumps(body).encode()
            # One Date only: the class would add its own.
            self.send_response_only(status)
            self.send_header("Date", formatdate(usegmt=True))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not like the certificate hangs up: that is the point."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake is made by the thread of the connection: one that fails must not end the server.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(45)


@contextmanager
def proxying(port: int | None, *, refusal: str = "403 Forbidden"):
    """
    Lead every CONNECT to a port of this machine, whatever host it names; without a port, refuse it.

    The same listener speaks SOCKS5 to whoever begins with that: https://www.rfc-editor.org/rfc/rfc1928
    """
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[str] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_relay, args=(client, port, refusal, asked), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.close()


def _relay(client: socket.socket, port: int | None, refusal: str, asked: list[str]) -> None:
    with client:
        if client.recv(1, socket.MSG_PEEK) == b"\x05":
            _relay_socks(client, port, asked)
            return
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        asked.append(head.split(b" ")[1].decode())
        if port is None:
            client.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(client, server)


def _relay_socks(client: socket.socket, port: int | None, asked: list[str]) -> None:
    _, methods = client.recv(2)
    client.recv(methods)
    client.sendall(b"\x05\x00")
    # Version, command, reserved, kind of address (3 is a name), its length.
    *_, kind, length = client.recv(5)
    assert kind == 3, "the proxy is to look the name up"
    name = client.recv(length).decode()
    asked.append(f"{name}:{int.from_bytes(client.recv(2), 'big')}")
    if port is None:
        client.sendall(b"\x05\x02\x00\x01" + bytes(6))
        return
    with socket.create_connection(("127.0.0.1", port)) as server:
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        _join(client, server)


def _join(client: socket.socket, server: socket.socket) -> None:
    back = threading.Thread(target=_pump, args=(server, client), daemon=True)
    back.start()
    _pump(client, server)
    back.join(45)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # Either side hung up: the conversation is over.
        return
