"""The service's client: one method for each thing that the service can do."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import anyio.to_thread

from wan_mcp.dashscope.connections import ConnectionPool
from wan_mcp.dashscope.errors import CallContext, CallKind
from wan_mcp.dashscope.image_addresses import parse_hosts
from wan_mcp.dashscope.network import ProxyCache, find_proxy, hide_password, resolve_name
from wan_mcp.dashscope.payload import KnownKeys
from wan_mcp.dashscope.requests import (
    PROBE_TASK_ID,
    REGIONS_WITH_UPLOADS,
    build_headers,
    build_list_url,
    build_order_url,
    build_policy_url,
    build_task_url,
    encode_body,
    find_endpoint,
)
from wan_mcp.dashscope.responses import (
    MOST_IMAGES,
    JsonResponse,
    find_error,
    read_created_task,
    read_task,
    read_task_list,
)
from wan_mcp.dashscope.types import (
    BeforeSending,
    CreateOrder,
    EncodedOrder,
    RequestBody,
    Sink,
    TaskAnswer,
    TaskListing,
    Timeouts,
)
from wan_mcp.settings.key_format import PLAN_KEY
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.tasks import TaskStatus

if TYPE_CHECKING:
    import httpx

    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.image_download import ImageDownloader
    from wan_mcp.dashscope.network import ProxyFinder, Resolver
    from wan_mcp.settings import RegionAccess

T = TypeVar("T")


class DashScope:
    """
    Alibaba Cloud Model Studio, in every region that is set up.

    Each method makes one attempt, except `download`; whoever calls decides whether to try again. Nothing is opened
    before the first call. `sandbox` gives the ASGI application of regions inside this process; it is called once,
    in a worker thread. `transport`, `resolve` and `find_proxy` replace the network, the name service and the
    environment's proxies. No key of `access` is left in anything that the service is quoted with.
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
        find_proxy: "ProxyFinder" = find_proxy,
    ) -> None:
        self._access = access
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._max_image_bytes = max_image_bytes
        self._image_hosts = parse_hosts(image_hosts)
        self._keys = KnownKeys(
            entry.api_key.get_secret_value()
            for entry in access.values()
            if entry.api_key is not None and not entry.in_process
        )
        self._proxies = ProxyCache(find_proxy)
        self._connections = ConnectionPool(
            sandbox=sandbox, transport=transport, proxies=self._proxies, resolve=resolve or resolve_name
        )
        self._downloader: ImageDownloader | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; a later call opens new ones."""
        await self._connections.aclose()

    async def encode(self, order: CreateOrder) -> EncodedOrder:
        """
        Give an order as it is sent; nothing else of it need be kept until it is answered.

        Raises:
            AppError: it cannot be sent like this.
        """
        endpoint = find_endpoint(self._access, order.region)
        return EncodedOrder(
            region=order.region,
            model_id=order.model_id,
            protocol=order.protocol,
            n=order.n,
            url=build_order_url(endpoint, order),
            headers=build_headers(endpoint, order),
            body=RequestBody(await _encode(order)),
        )

    async def create(
        self, order: EncodedOrder, *, before: BeforeSending | None = None, before_seconds: float = 0.0
    ) -> TaskAnswer:
        """
        Order images: one attempt, on a connection of its own.

        `before` is called once that is open, for at most `before_seconds`, and only then is anything sent; whatever
        it raises is raised here, and the order can be sent another time.

        The answer to an order of the synchronous protocol is `SUCCEEDED` with its images and has no task id. Of more
        images than were ordered so many are read, and the rest is counted.

        Raises:
            AppError: `nothing_created` says whether it is certain that no order came of it.
        """
        context = CallContext(find_endpoint(self._access, order.region), CallKind.ORDER, order.model_id)
        sync = order.protocol is WireProtocol.SYNC
        response = await self._call(
            context,
            "POST",
            order.url,
            body=order.body,
            headers=order.headers,
            answer_seconds=self._timeouts.sync_order if sync else self._timeouts.order,
            before=before,
            before_seconds=before_seconds,
        )
        return await _read(response, partial(read_created_task, response, context, most=order.n))

    def has_uploads(self, region: str) -> bool:
        """Tell whether pictures can be handed to the service beforehand, in this region and with its key."""
        entry = self._access.get(region)
        if entry is None or entry.api_key is None or entry.region not in REGIONS_WITH_UPLOADS:
            return False
        return not entry.api_key.get_secret_value().startswith(PLAN_KEY)

    async def upload(self, region: str, model_id: str, data: bytes, mime_type: str) -> str:
        """
        Hand a picture to the service for 48 hours, and give the address by which an order for this model names it.

        One attempt. Nothing is ordered by it, and it costs nothing.

        Raises:
            KeyRefusedError: the region does not take the key.
            UploadError: the picture could not be put into the service's store.
            AppError: the service could not be asked where that is.
        """
        endpoint = find_endpoint(self._access, region)
        context = CallContext(endpoint, CallKind.QUESTION, model_id)
        response = await self._call(context, "GET", build_policy_url(endpoint, model_id))
        error = find_error(response, context)
        if error is not None:
            raise error
        from wan_mcp.dashscope.upload import read_policy, upload  # noqa: PLC0415 - brings httpx, after start-up

        return await upload(
            data,
            mime_type,
            read_policy(response.payload),
            connections=self._connections,
            hosts=self._image_hosts,
            timeouts=self._timeouts,
            in_process=endpoint.in_process,
        )

    async def query(self, region: str, task_id: str, *, most: int = MOST_IMAGES) -> TaskAnswer:
        """
        Ask for a task: one attempt. At most so many of its images are read, and the rest is counted.

        A task that the service does not know is `UNKNOWN`, not an error.

        Raises:
            AppError: the question could not be asked, or was not answered.
        """
        endpoint = find_endpoint(self._access, region)
        context = CallContext(endpoint, CallKind.QUESTION)
        url = build_task_url(endpoint, task_id)
        response = await self._call(context, "GET", url)
        return await _read(response, partial(read_task, response, context, task_id, most=most))

    async def cancel(self, region: str, task_id: str) -> None:
        """
        Cancel a task that is still PENDING.

        Raises:
            NotCancelableError: it is no longer PENDING.
        """
        endpoint = find_endpoint(self._access, region)
        context = CallContext(endpoint, CallKind.QUESTION)
        response = await self._call(context, "POST", build_task_url(endpoint, task_id, "/cancel"))
        error = find_error(response, context)
        if error is not None:
            raise error

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
        context = CallContext(endpoint, CallKind.QUESTION)
        filters = {"model_name": model_id, "status": status and str(status), "task_id": task_id}
        url = build_list_url(endpoint, start=start, end=end, filters=filters, page_no=page_no, page_size=page_size)
        response = await self._call(context, "GET", url)
        return await _read(response, partial(read_task_list, response, context, page_no=page_no))

    async def probe(self, region: str) -> None:
        """
        Find out, free of charge, whether the region takes the key.

        Raises:
            KeyRefusedError: it does not.
            AppError: it could not be found out.
        """
        await self.query(region, PROBE_TASK_ID)

    async def download(self, region: str, url: str, sink: Sink, *, is_callers: bool = False) -> None:
        """
        Fetch an image into `sink`, which continues where an earlier transfer broke off if the host allows it.

        A broken transfer is taken up again a few times; what came stays in the sink. An address that does not come
        from the service but from a caller (`is_callers`) must be signed, and lead to a host that is known.

        Raises:
            LinkExpiredError: the link is over; asking for the task again may bring a new one.
            HostNotAllowedError: the address, or a redirect, leads elsewhere than to an image host, or into a private
                network.
            TooLargeError: the image has more bytes than allowed.
            NotAnImageError: the host answered with something else.
            DownloadError: anything else; `retryable` says whether to call again.
        """
        entry = self._access.get(region)
        in_process = entry is not None and entry.in_process
        downloader = await self._open_downloader(in_process=in_process)
        await downloader.download(url, sink, in_process=in_process, is_callers=is_callers)

    async def _open_downloader(self, *, in_process: bool) -> "ImageDownloader":
        await self._connections.open(in_process=in_process)
        if self._downloader is None:
            from wan_mcp.dashscope.image_download import ImageDownloader  # noqa: PLC0415 - httpx, after start-up

            self._downloader = ImageDownloader(
                self._connections,
                hosts=self._image_hosts,
                max_bytes=self._max_image_bytes,
                clock=self._clock,
                timeouts=self._timeouts,
            )
        return self._downloader

    async def _call(
        self,
        context: CallContext,
        method: str,
        url: str,
        *,
        body: RequestBody | None = None,
        headers: Mapping[str, str] | None = None,
        answer_seconds: float | None = None,
        before: BeforeSending | None = None,
        before_seconds: float = 0.0,
    ) -> JsonResponse:
        clients = await self._connections.open(in_process=context.endpoint.in_process)
        from wan_mcp.dashscope.exchange import Call, send  # noqa: PLC0415 - brings httpx, after start-up

        client = clients.calls if context.kind is CallKind.QUESTION else clients.orders
        call = Call(
            method=method,
            url=url,
            headers=build_headers(context.endpoint) if headers is None else headers,
            answer_seconds=self._timeouts.call if answer_seconds is None else answer_seconds,
            body=body,
            proxy=await self._find_proxy(context, url),
            before=before,
            before_seconds=before_seconds,
        )
        return await send(
            client,
            call,
            context,
            keys=self._keys,
            timeouts=self._timeouts,
            now=self._clock.now(),
            tells_events=clients.tells_events,
        )

    async def _find_proxy(self, context: CallContext, url: str) -> str | None:
        """Give the proxy that leads to an address, as it may be shown."""
        if context.endpoint.in_process:
            return None
        try:
            parts = urlsplit(url)
            port = parts.port or USUAL_PORTS.get(parts.scheme, 0)
        except ValueError:
            # That the address is none is said when it is called.
            return None
        proxy = await self._proxies.find(parts.scheme, parts.hostname or "", port)
        return None if proxy is None else hide_password(proxy)


async def _encode(order: CreateOrder) -> bytes:
    """Give the body of an order, made in a thread if pictures stand in it."""
    return await anyio.to_thread.run_sync(encode_body, order) if order.images else encode_body(order)


async def _read(response: JsonResponse, read: Callable[[], T]) -> T:
    """Read an answer, in a thread if that takes a while."""
    return await anyio.to_thread.run_sync(read) if response.is_long else read()
