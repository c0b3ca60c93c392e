"""The one place where objects are built."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from wan_mcp import __version__
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import Ledger
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.ledger.leases import new_worker_id
from wan_mcp.orders import OrderContext, OrderService, Timings
from wan_mcp.orders.context import NO_OBSERVERS, Observers
from wan_mcp.orders.files.links import ImageLinkSigner
from wan_mcp.settings import Settings
from wan_mcp.storage import LocalStorage, Storage
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.principals import current_principal

if TYPE_CHECKING:
    from mcp.server.context import ServerMiddleware
    from mcp.server.mcpserver import MCPServer

    from wan_mcp.mcp_server import WanServer
    from wan_mcp.mcp_server.resources import MakeGalleryLink

INSTRUCTIONS = """\
Makes and edits pictures with Alibaba Cloud's Wan, Qwen-Image and Z-Image models and answers with file paths. \
generate_image is the main tool, for changes too. If it answers with PENDING or RUNNING, call get_task with the \
task_id: ordering again would cost again. Every picture that was ordered is saved, even when a call was cut off; \
list_tasks finds it. Show the person the path."""


def build_context(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: Any = None,  # noqa: ANN401 - a transport of the HTTP library, for tests
    sandbox: Callable[[], object] | None = None,
    observers: Observers = NO_OBSERVERS,
) -> OrderContext:
    """
    Build what ordering stands on; `observers` are told of it. Nothing is opened or connected before it is used.

    `sandbox` builds the look-alike of the service that the region of this name is, if it is to be another than usual.
    """
    clock = clock or SystemClock()

    def usual_sandbox() -> object:
        from wan_mcp.sandbox import in_process_app  # noqa: PLC0415 - only the region sandbox needs it

        return in_process_app(settings.state_dir, clock, settings.extra_models)

    return OrderContext(
        ledger=open_ledger(settings, clock),
        dashscope=DashScope(
            settings.regions,
            image_hosts=settings.image_hosts,
            max_image_bytes=settings.max_image_bytes,
            clock=clock,
            sandbox=sandbox or usual_sandbox,
            transport=transport,
        ),
        storage=open_storage(settings, clock),
        clock=clock,
        observers=observers,
    )


def open_ledger(settings: Settings, clock: Clock) -> Ledger:
    """
    Give the ledger that the settings name.

    Raises:
        SettingsError: it needs packages that are not installed.
    """
    if settings.ledger_url is None:
        return open_sqlite_ledger(settings.ledger_path, clock)
    try:
        from wan_mcp.ledger.backends.postgres import open_postgres_ledger  # noqa: PLC0415 - packages of a team's server
    except ImportError as error:
        raise SettingsError(
            "WAN_MCP_LEDGER_URL needs packages that are not installed.",
            "Install them: pip install 'wan-mcp[server]'.",
        ) from error
    return open_postgres_ledger(settings.ledger_url.get_secret_value(), clock)


def open_storage(settings: Settings, clock: Clock) -> Storage:
    """
    Give the place of images that the settings name. Nothing is connected before it is used.

    Raises:
        SettingsError: it needs packages that are not installed.
    """
    folders = LocalStorage(
        settings.output_dir,
        settings.allowed_dirs,
        input_files=settings.input_files,
        file_mode=settings.file_mode,
    )
    if settings.storage is None:
        return folders
    try:
        from wan_mcp.storage.s3 import S3Storage  # noqa: PLC0415 - packages of a team's server
    except ImportError as error:
        raise SettingsError(
            "WAN_MCP_STORAGE_URL needs packages that are not installed.",
            "Install them: pip install 'wan-mcp[server]'.",
        ) from error
    return S3Storage(settings.storage, folders, spool=settings.state_dir / "spool", clock=clock)


def build_catalogue(settings: Settings) -> Catalogue:
    """Build what can be ordered, with the operator's choices."""
    return Catalogue(
        settings.extra_models,
        default_model=settings.model,
        edit_model=settings.edit_model,
        default_region=settings.default_region,
        keyed_regions=frozenset(
            access.region
            for access in settings.regions.values()
            if access.api_key is not None and access.problem is None
        ),
        prefer_sync=settings.prefer_sync,
    )


def build_service(
    settings: Settings,
    *,
    context: OrderContext | None = None,
    timings: Timings | None = None,
    links: ImageLinkSigner | None = None,
) -> OrderService:
    """
    Build the service on what ordering stands on. Nothing is opened, read or connected before it runs.

    `links` are for callers who share no disk with it.
    """
    return OrderService(
        context or build_context(settings),
        catalogue=build_catalogue(settings),
        settings=settings,
        timings=timings or Timings(),
        worker_id=new_worker_id(),
        links=links,
    )


def open_service(settings: Settings, *, take_over: bool = True) -> AbstractAsyncContextManager[OrderService]:
    """Run a service for a command; `take_over` also takes over what other processes have left unfinished."""
    return build_service(settings).running(take_over=take_over)


def build_server(
    service: OrderService,
    *,
    secret_key: bytes | None = None,
    instructions: str = INSTRUCTIONS,
    make_gallery_link: "MakeGalleryLink | None" = None,
    middleware: "Sequence[ServerMiddleware[Any]]" = (),
    alongside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> "WanServer":
    """
    Build the MCP server on a service that runs as long as the server does, and with it what is `alongside`.

    `make_gallery_link` is there where people sign in. `middleware` is around every request. The state of a request
    that goes through the client is sealed with `secret_key`; without one no other process, nor a later one, can read
    it.
    """
    # Commands that serve nothing start faster without these.
    from wan_mcp.mcp_server import (  # noqa: PLC0415
        OrderTaskStore,
        WanServer,
        limit_sizes,
        make_apps,
    )
    from wan_mcp.mcp_server.path_filter import PathFilter, make_path_filter  # noqa: PLC0415
    from wan_mcp.mcp_server.tasks_extension import TasksExtension, refuse_undeclared_subscriptions  # noqa: PLC0415

    security = None
    if secret_key is not None:
        from mcp.server.mcpserver import RequestStateSecurity  # noqa: PLC0415 - over stdio there is one process

        from wan_mcp.auth.secret_key import derive_key  # noqa: PLC0415 - the same

        security = RequestStateSecurity(
            keys=[derive_key(secret_key, "request state")], bind_principal=lambda _: current_principal().id
        )

    @asynccontextmanager
    async def lifespan(_: "MCPServer[None]") -> AsyncGenerator[None]:
        async with service.running(), anyio.create_task_group() as group:
            for run in alongside:
                group.start_soon(run)
            yield
            group.cancel_scope.cancel()

    paths = PathFilter(service.places)
    return WanServer(
        service,
        "wan",
        title="Wan and Qwen pictures",
        version=__version__,
        make_gallery_link=make_gallery_link,
        instructions=instructions,
        hide=paths.hide_from_caller,
        extensions=[make_apps(), TasksExtension(OrderTaskStore(service))],
        request_state_security=security,
        middleware=[*middleware, make_path_filter(paths), limit_sizes, refuse_undeclared_subscriptions],
        log_level="WARNING",
        lifespan=lifespan,
    )
