"""What stands in front of replicas, and clients that come through it: nginx as it is deployed, or a plain forwarder."""

import ssl
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from fakes.forwarder import Forwarder
from fakes.loopback_tls import Authority
from fakes.nginx import NAME, find_nginx, running_nginx

READ_SECONDS = 40.0
"""After which a client takes a call for lost."""


@dataclass(frozen=True)
class Front:
    """The public address: clients reach it at `url`, and name it as the replicas know it."""

    program: str
    url: str
    trust: ssl.SSLContext | None

    @property
    def public_url(self) -> str:
        """What the replicas are told about it."""
        return f"https://{NAME}" if self.trust else self.url.removesuffix("/mcp")


@contextmanager
def open_front(folder: Path, ports: Sequence[int], *, with_nginx: bool = True) -> Generator[Front]:
    """Open nginx in front of the replicas at these ports, or a forwarder where it is not to be had or not wanted."""
    if not (with_nginx and find_nginx()):
        with Forwarder(ports) as forwarder:
            yield Front("a forwarder", f"http://127.0.0.1:{forwarder.port}/mcp", None)
        return
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    with running_nginx(folder, authority.certify(NAME, "127.0.0.1"), ports) as port:
        trust = ssl.create_default_context(cafile=authority.path)
        yield Front("nginx", f"https://127.0.0.1:{port}/mcp", trust)


@asynccontextmanager
async def open_client(front: Front, token: str, era: str = "auto") -> AsyncGenerator[Client]:
    """Open a conversation with whichever replica is given."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Host": NAME} if front.trust else {})
    async with (
        httpx2.AsyncClient(
            headers=headers,
            verify=front.trust or True,
            timeout=httpx2.Timeout(10, read=READ_SECONDS),
            trust_env=False,
        ) as http,
        Client(
            streamable_http_client(front.url, http_client=http), mode=era, read_timeout_seconds=READ_SECONDS
        ) as client,
    ):
        yield client
