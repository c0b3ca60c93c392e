"""nginx with the configuration of `deploy`, in front of replicas of a test: only what has to differ is changed."""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "pictures.example.com"
"""The name that the configuration answers to."""
CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
_SECONDS = 30.0


def find_nginx() -> str | None:
    """Give the program, or None where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def write_configuration(
    folder: Path, certificate: Path, *, key: Path | None = None, port: int = 443, ports: Sequence[int] = ()
) -> Path:
    """
    Write the configuration with a certificate of the test's and its files in a folder; give its path.

    `ports` are those of the replicas, if they are not those of the file.
    """
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"ssl_certificate \S+;", f"ssl_certificate {certificate};", text)
    text = re.sub(r"ssl_certificate_key \S+;", f"ssl_certificate_key {key or certificate};", text)
    for log in ("access.log", "error.log"):
        text = text.replace(f"/var/log/nginx/{log}", str(folder / log))
    text = text.replace("listen 443 ssl;", f"listen {'' if port == 443 else '127.0.0.1:'}{port} ssl;")
    if ports:
        # What the file says of one replica holds for each of these.
        found = re.findall(r"^ *server 127\.0\.0\.1:\d+(.*;)\n", text, re.MULTILINE)
        servers = "".join(f"        server 127.0.0.1:{each}{found[0]}\n" for each in ports)
        text = re.sub(r"(?:^ *server 127\.0\.0\.1:\d+.*;\n)+", servers, text, flags=re.MULTILINE)
    places = "".join(
        f"    {kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\n{places}", 1)
    path = folder / "nginx.conf"
    path.write_text(f"pid {folder}/pid;\nerror_log {folder}/error.log;\ndaemon off;\n{text}", encoding="utf-8")
    return path


@contextmanager
def running_nginx(folder: Path, certificate: Path, ports: Sequence[int]) -> Generator[int]:
    """Run nginx in front of replicas at some ports of this machine; gives its own."""
    program = find_nginx()
    assert program is not None, "there is no nginx"
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = write_configuration(folder, certificate, port=port, ports=ports)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [program, "-e", str(folder / "error.log"), "-c", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(port, process, folder)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    ends, pause = time.monotonic() + _SECONDS, threading.Event()
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < ends, (folder / "output").read_text()
        pause.wait(0.02)
