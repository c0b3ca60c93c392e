"""A whole team's server on this machine: PostgreSQL, an object store, replicas, and what stands in front of them."""

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from campaigns.front import Front, open_front
from campaigns.replica_pool import ReplicaPool, find_ports, make_environ, make_tokens
from fakes import s3
from fakes.dashscope import FakeService
from fakes.postgres import running_server
from fakes.refusing_proxy import RefusingProxy

PEOPLE = ("ann", "bob", "cleo")
_START_SECONDS = 60.0
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Team:
    """
    What runs: `database` is the folder of the PostgreSQL server, `store` the way to the object store.

    `tokens` are those of the people.
    """

    front: Front
    pool: ReplicaPool
    tokens: Mapping[str, str]
    database: Path
    ledger_url: str
    bucket: s3.Bucket
    store: RefusingProxy


@contextmanager
def running_team(
    folder: Path,
    dashscope: FakeService | None,
    *,
    replicas: int,
    command: Sequence[str] | None = None,
    timings: Mapping[str, float] | None = None,
    with_nginx: bool = True,
) -> Generator[Team]:
    """Run everything, from the moment at which all replicas are ready; `command` starts the program."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        database, ledger_url = stack.enter_context(running_server())
        bucket = s3.make_bucket(s3.start_server(s3.choose_folder()))
        port = urlsplit(bucket.endpoint).port
        assert port is not None
        store = stack.enter_context(RefusingProxy(port))
        ports = find_ports(replicas)
        front = stack.enter_context(open_front(folder / "front", ports, with_nginx=with_nginx))
        tokens = make_tokens(folder / "tokens", PEOPLE)
        environ = make_environ(
            dashscope,
            ledger_url=ledger_url,
            storage=bucket.environ(AWS_ENDPOINT_URL=f"http://127.0.0.1:{store.port}"),
            tokens=folder / "tokens",
            public_url=front.public_url,
        )
        pool = ReplicaPool(folder, ports, environ, command=command, timings=timings)
        stack.callback(pool.kill_all)
        for number in range(replicas):
            pool.start(number)
        _wait_until_all_are_ready(pool)
        yield Team(front, pool, tokens, database, ledger_url, bucket, store)


def _wait_until_all_are_ready(pool: ReplicaPool) -> None:
    ends, pause = time.monotonic() + _START_SECONDS, threading.Event()
    while not all(_is_ready(port) for port in pool.ports):
        if pool.missing or time.monotonic() > ends:
            raise RuntimeError("\n".join(["the replicas do not start", *pool.errors]))
        pause.wait(0.1)


def _is_ready(port: int) -> bool:
    """Ask as whatever watches over a replica does: it has written to the object store then."""
    try:
        with _opener.open(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status == HTTPStatus.OK
    except OSError:
        return False
