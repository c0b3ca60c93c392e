"""The service's client: one method for each thing that the service can do."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from wan_mcp.dashscope.addresses import AddressCheck, look_up
from wan_mcp.dashscope.answers import read_creation, read_listing, read_query
from wan_mcp.dashscope.bodies import encode_body
from wan_mcp.dashscope.endpoints import (
    PROBE_TASK_ID,
    Endpoint,
    create_url,
    find_endpoint,
    list_url,
    make_headers,
    task_url,
)
from wan_mcp.dashscope.hosts import ImageHosts
from wan_mcp.dashscope.proxies import Proxies
from wan_mcp.dashscope.refusals import Circumstance, Moment
from wan_mcp.dashscope.replies import Reply, judge
from wan_mcp.dashscope.switchboard import Switchboard
from wan_mcp.dashscope.values import CreateOrder, Sink, TaskAnswer, TaskListing, Timeouts
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.tasks import TaskStatus

if TYPE_CHECKING:
    import httpx

    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.addresses import Resolver
    from wan_mcp.dashscope.images import ImageFetcher
    from wan_mcp.dashscope.proxies import ProxyFinder
    from wan_mcp.settings import RegionAccess


class DashScope:
    """
    Alibaba Cloud Model Studio, in every region that is set up.

    Each method makes one attempt, except `download`; whoever calls decides whether to try again. Nothing is opened
    before the first call. `sandbox` gives the ASGI application of regions inside this process; it is called once,
    in a worker thread. `transport`, `resolve` and `find_proxy` replace the network, the name service and the
    environment's proxies; with a `transport` and no `resolve` no name is looked up at all.
    """

    def __init__(
        self,
        access: "Mapping[str, RegionAccess]",
        *,
        max_image_bytes: int,
        clock: "Clock",
        image_hosts: Sequence[str] = (),
        sandbox: Callable[[], Any] | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        timeouts: Timeouts | None = None,
        resolve: "Resolver | None" = None,
        find_proxy: "ProxyFinder | None" = None,
    ) -> None:
        self._access = access
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._max_image_bytes = max_image_bytes
        self._hosts = ImageHosts(image_hosts)
        proxies = Proxies(find_proxy) if find_proxy is not None else Proxies()
        self._switchboard = Switchboard(sandbox=sandbox, transport=transport, proxies=proxies)
        unchecked = transport is not None and resolve is None
        self._addresses = None if unchecked else AddressCheck(resolve or look_up, proxies)
        self._fetcher: ImageFetcher | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; a later call opens new ones."""
        await self._switchboard.aclose()

    async def create(self, order: CreateOrder) -> TaskAnswer:
        """
        Order images: one attempt, on a connection of its own.

        The answer to an order of the synchronous protocol is `SUCCEEDED` with its images and has no task id.

        Raises:
            AppError: `nothing_created` says whether it is certain that no order came of it.
        """
        endpoint = find_endpoint(self._access, order.region)
        where = _circumstance(endpoint, Moment.ORDER, order.model_id)
        sync = order.protocol is WireProtocol.SYNC
        reply = await self._call(
            endpoint,
            where,
            "POST",
            create_url(endpoint, order.protocol),
            body=encode_body(order),
            protocol=order.protocol,
            patience=self._timeouts.sync_order if sync else self._timeouts.order,
        )
        return read_creation(reply, where)

    async def query(self, region: str, task_id: str) -> TaskAnswer:
        """
        Ask for a task: one attempt.

        A task that the service does not know is `UNKNOWN`, not an error.

        Raises:
            AppError: the question could not be asked, or was not answered.
        """
        endpoint = find_endpoint(self._access, region)
        where = _circumstance(endpoint, Moment.ASK)
        reply = await self._call(endpoint, where, "GET", task_url(endpoint, task_id))
        return read_query(reply, where, task_id)

    async def cancel(self, region: str, task_id: str) -> None:
        """
        Cancel a task that is still PENDING.

        Raises:
            NotCancelableError: it is no longer PENDING.
        """
        endpoint = find_endpoint(self._access, region)
        where = _circumstance(endpoint, Moment.ASK)
        reply = await self._call(endpoint, where, "POST", task_url(endpoint, task_id, "/cancel"))
        problem = judge(reply, where)
        if problem is not None:
            raise problem

    async def list_tasks(
        self,
        region: str,
        *,
        start: float | None = None,
        end: float | None = None,
        model_id: str | None = None,
        status: TaskStatus | None = None,
        task_id: str | None = None,
        page_no: int = 1,
        page_size: int = 100,
    ) -> TaskListing:
        """
        List the account's tasks of a region, at most 24 hours of them; without times, those of the last 24.

        `start` and `end` are seconds since 1970. The service takes times without a zone; they are sent as UTC+8,
        which its own samples fit but its documents do not promise. Whoever must not miss a task leaves them out
        and compares `created_at`, which has no such doubt.

        Raises:
            AppError: the list could not be had. That never looks like an empty list.
        """
        endpoint = find_endpoint(self._access, region)
        where = _circumstance(endpoint, Moment.ASK)
        filters = {"model_name": model_id, "status": status and str(status), "task_id": task_id}
        url = list_url(endpoint, start=start, end=end, filters=filters, page_no=page_no, page_size=page_size)
        return read_listing(await self._call(endpoint, where, "GET", url), where, page_no=page_no)

    async def probe(self, region: str) -> None:
        """
        Find out, free of charge, whether the region takes the key.

        Raises:
            KeyRefusedError: it does not.
            AppError: it could not be found out.
        """
        await self.query(region, PROBE_TASK_ID)

    async def download(self, region: str, url: str, sink: Sink) -> None:
        """
        Fetch an image into `sink`, which continues where an earlier transfer broke off if the host allows it.

        A broken transfer is taken up again a few times; what came stays in the sink.

        Raises:
            LinkExpiredError: the link is over; asking for the task again may bring a new one.
            HostNotAllowedError: the address, or a redirect, leads elsewhere than to an image host.
            TooLargeError: the image has more bytes than allowed.
            NotAnImageError: the host answered with something else.
            DownloadError: anything else; `retryable` says whether to call again.
        """
        entry = self._access.get(region)
        in_process = entry is not None and entry.in_process
        fetcher = await self._open_fetcher(in_process=in_process)
        await fetcher.fetch(url, sink, in_process=in_process)

    async def _open_fetcher(self, *, in_process: bool) -> "ImageFetcher":
        await self._switchboard.connect(in_process=in_process)
        if self._fetcher is None:
            from wan_mcp.dashscope.images import ImageFetcher  # noqa: PLC0415 - brings httpx, after start-up

            self._fetcher = ImageFetcher(
                self._switchboard,
                self._hosts,
                self._addresses,
                max_bytes=self._max_image_bytes,
                clock=self._clock,
                timeouts=self._timeouts,
            )
        return self._fetcher

    async def _call(
        self,
        endpoint: Endpoint,
        where: Circumstance,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        protocol: WireProtocol | None = None,
        patience: float | None = None,
    ) -> Reply:
        connections = await self._switchboard.connect(in_process=endpoint.in_process)
        from wan_mcp.dashscope.exchange import Call, exchange  # noqa: PLC0415 - brings httpx, after start-up

        client = connections.calls if protocol is None else connections.orders
        call = Call(
            method=method,
            url=url,
            endpoint=endpoint,
            headers=make_headers(endpoint, protocol),
            patience=self._timeouts.call if patience is None else patience,
            body=body,
        )
        return await exchange(client, call, where, timeouts=self._timeouts, now=self._clock.now())


def _circumstance(endpoint: Endpoint, moment: Moment, model_id: str | None = None) -> Circumstance:
    return Circumstance(endpoint.region, endpoint.key_setting, moment, model_id, endpoint.key)
