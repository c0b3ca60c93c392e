"""Opens connections when they are first needed, off the event loop, and closes them."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from wan_mcp_tools.domain.errors import SettingsError

if TYPE_CHECKING:
    import httpx

    from wan_mcp.dashscope.http_clients import HttpClients
    from wan_mcp.dashscope.network import ProxyCache, Resolver


class ConnectionPool:
    """
    The connections of one client: to the network, and to the sandbox inside this process.

    `transport` takes the place of both. `resolve` looks up the names of image hosts.
    """

    def __init__(
        self,
        *,
        sandbox: Callable[[], Any] | None,
        transport: "httpx.AsyncBaseTransport | None",
        proxies: "ProxyCache",
        resolve: "Resolver",
    ) -> None:
        self._sandbox = sandbox
        self._transport = transport
        self._proxies = proxies
        self._resolve = resolve
        self._lock = anyio.Lock()
        self._opened: dict[bool, HttpClients] = {}

    async def open(self, *, in_process: bool) -> "HttpClients":
        """
        Give the HTTP clients to the network, or to the sandbox inside this process, opening them the first time.

        Raises:
            SettingsError: there is no sandbox inside this process.
        """
        async with self._lock:
            if in_process not in self._opened:
                self._opened[in_process] = await anyio.to_thread.run_sync(self._open_blocking, in_process)
            return self._opened[in_process]

    async def aclose(self) -> None:
        """Close every connection; the next call opens new ones."""
        async with self._lock:
            opened = list(self._opened.values())
            self._opened.clear()
        for clients in opened:
            await clients.aclose()

    def _open_blocking(self, in_process: bool) -> "HttpClients":
        from wan_mcp.dashscope import http_clients  # noqa: PLC0415 - brings httpx, after start-up

        for name in ("exchange", "image_download", "upload"):
            # Loaded here, in a thread, so that the first call does not do it on the event loop.
            importlib.import_module(f"wan_mcp.dashscope.{name}")

        if self._transport is not None:
            return http_clients.open_through(self._transport)
        if not in_process:
            return http_clients.open_network(self._proxies, self._resolve)
        if self._sandbox is None:
            raise SettingsError("There is no sandbox inside this process.", "Choose another region.")
        return http_clients.open_in_process(self._sandbox())
