"""Image hosts are connected to where they were looked up to be, on the public internet, and nowhere else."""

import anyio
import httpcore
import pytest

from wan_mcp.dashscope import DashScope
from wan_mcp.dashscope.http_clients import PublicNetwork
from wan_mcp_tools.domain.errors import DownloadError, HostNotAllowedError

HOST = "dashscope-a717.oss-accelerate.aliyuncs.com"


class Stream(httpcore.AsyncNetworkStream):
    def __init__(self, address):
        self.address = address
        self.is_closed = False

    async def aclose(self):
        self.is_closed = True


class Network(httpcore.AsyncNetworkBackend):
    """A network of addresses, each of which answers after some seconds, or not at all."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): seconds for name, seconds in answers.items()}
        self.connected = []
        self.streams = []

    async def connect_tcp(self, host, port, timeout=None, *rest):  # noqa: ASYNC109 - as the interface has it
        self.connected.append((host, port))
        seconds = self.answers[host.removeprefix("47.88.1.")]
        if isinstance(seconds, Exception):
            raise seconds
        await anyio.sleep(seconds)
        self.streams.append(Stream(host))
        return self.streams[-1]


def resolving(*answers):
    """Give other addresses each time it is asked; the last ones repeat."""
    left = list(answers)

    async def resolve(host, port):
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize(
    "addresses", [["10.0.0.8"], ["47.88.1.1", "127.0.0.1"], ["::ffff:169.254.169.254"], ["fe80::1%1"]]
)
async def test_nothing_is_connected_to_where_an_address_is_private(addresses):
    network = Network()
    with pytest.raises(HostNotAllowedError, match="WAN_MCP_IMAGE_HOSTS"):
        await PublicNetwork(resolving(addresses), network).connect_tcp(HOST, 443)
    assert network.connected == []


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to():
    network = Network(**{"1": 0})
    public = PublicNetwork(resolving(["47.88.1.1"], ["127.0.0.1"]), network)
    assert (await public.connect_tcp(HOST, 443, timeout=45)).address == "47.88.1.1"
    assert network.connected == [("47.88.1.1", 443)]
    with pytest.raises(HostNotAllowedError):
        await public.connect_tcp(HOST, 443)
    assert len(network.connected) == 1


async def test_an_address_that_does_not_answer_is_not_waited_for():
    network = Network(**{"1": 30, "2": httpcore.ConnectError("refused"), "3": 0})
    public = PublicNetwork(resolving(["47.88.1.1", "47.88.1.2", "47.88.1.3"]), network)
    with anyio.fail_after(45):
        assert (await public.connect_tcp(HOST, 443)).address == "47.88.1.3"
    assert len(network.connected) == 3


async def test_of_two_that_answer_at_once_one_is_left():
    network = Network(**{"1": 0.25, "2": 0})
    public = PublicNetwork(resolving(["47.88.1.1", "47.88.1.2"]), network)
    chosen = await public.connect_tcp(HOST, 443)
    assert [stream.is_closed for stream in network.streams if stream is not chosen] in ([], [True])
    assert not chosen.is_closed


async def test_where_no_address_answers_the_first_says_why():
    first, second = httpcore.ConnectError("first"), httpcore.ConnectTimeout("second")
    public = PublicNetwork(resolving(["47.88.1.1", "47.88.1.2"]), Network(**{"1": first, "2": second}))
    with pytest.raises(httpcore.ConnectError, match="first"):
        await public.connect_tcp(HOST, 443)


class Listener:
    """A listener on this machine that counts who connects, and answers with a picture to whoever asks."""

    async def __aenter__(self):
        self.connections = 0
        self.listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self.port = self.listener.extra(anyio.abc.SocketAttribute.local_port)
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(self.listener.serve, self.answer)
        return self

    async def answer(self, stream):
        async with stream:
            self.connections += 1
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes")

    async def __aexit__(self, *trouble):
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(*trouble)
        await self.listener.aclose()


async def test_a_name_of_the_service_that_leads_to_this_machine_is_not_connected_to(kit, clock):
    async with (
        Listener() as listener,
        DashScope(
            kit.access(),
            clock=clock,
            max_image_bytes=1000,
            resolve=resolving(["127.0.0.1"]),
            find_proxy=lambda *address: None,
        ) as client,
    ):
        with pytest.raises(HostNotAllowedError):
            await client.download("singapore", kit.image_url, kit.sink())
        assert listener.connections == 0


async def test_a_host_that_the_operator_named_is_connected_to_wherever_it_is(kit, clock):
    async with (
        Listener() as listener,
        DashScope(
            kit.access(),
            clock=clock,
            max_image_bytes=1000,
            image_hosts=[f"127.0.0.1:{listener.port}"],
            resolve=resolving(["10.0.0.1"]),
        ) as client,
    ):
        sink = kit.sink()
        await client.download("singapore", f"http://127.0.0.1:{listener.port}/1.png", sink)
        assert (sink.content, listener.connections) == (b"bytes", 1)


async def test_behind_a_proxy_the_name_is_left_to_the_proxy(kit, clock):
    async with (
        Listener() as proxy,
        DashScope(
            kit.access(),
            clock=clock,
            max_image_bytes=1000,
            resolve=resolving(["10.0.0.8"]),
            find_proxy=lambda *address: f"http://127.0.0.1:{proxy.port}",
        ) as client,
    ):
        with pytest.raises(DownloadError) as caught:
            await client.download("singapore", kit.image_url, kit.sink())
        # The proxy answered the CONNECT and then spoke no TLS: it was reached, and the name was never looked up here.
        assert not isinstance(caught.value, HostNotAllowedError)
        assert proxy.connections == 3


async def test_a_name_that_cannot_be_resolved_may_be_tried_again(kit, clock):
    async def resolve(host, port):
        raise OSError("no such name")

    async with DashScope(
        kit.access(), clock=clock, max_image_bytes=1, resolve=resolve, find_proxy=lambda *address: None
    ) as client:
        with pytest.raises(DownloadError, match="cannot be resolved") as caught:
            await client.download("singapore", kit.image_url, kit.sink())
        assert caught.value.retryable
