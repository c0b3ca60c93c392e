"""Builds what is served over HTTP: who may come in, links, the gallery of people who sign in, metrics."""

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from wan_mcp.app import INSTRUCTIONS, build_catalogue, build_context, build_server, build_service
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.ledger.leases import new_worker_id
from wan_mcp.orders import OrderContext, OrderService, Timings
from wan_mcp.orders.context import NO_OBSERVERS, Observers
from wan_mcp.orders.files.links import ImageLinkSigner
from wan_mcp.settings import Settings
from wan_mcp_tools import TOOLS
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.principals import Scope, current_principal
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from mcp.server.context import ServerMiddleware
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from wan_mcp.auth.gate import AuthGate
    from wan_mcp.auth.issuer import IssuerNetwork
    from wan_mcp.mcp_server.resources import MakeGalleryLink
    from wan_mcp.telemetry.providers import Telemetry

SHARED_INSTRUCTIONS = """\
Makes and edits pictures with Alibaba Cloud's Wan, Qwen-Image and Z-Image models and answers with links. \
generate_image is the main tool, for changes too. If it answers with PENDING or RUNNING, call get_task with the \
task_id: ordering again would cost again. Every picture that was ordered is saved, even when a call was cut off; \
list_tasks finds it. Show the person the url; once url_expires_at is over, get_task or download_image gives a new \
one, free of charge. images takes the upload_id of a picture of the person's own, for 24 hours: its bytes are sent \
by POST to {address}/uploads with the token of this server."""

_MOST_SHARED_BYTES = 4 * 1024 * 1024
"""Of a message where strangers may send some."""


def build_gate(settings: Settings, clock: Clock | None = None) -> "AuthGate | None":
    """
    Build the gate of the HTTP server, or None where nobody has to sign in.

    Raises:
        SettingsError: the file of tokens cannot be used, or an issuer is set without the server's own address.
    """
    if not settings.has_sign_in:
        return None
    from wan_mcp.auth.challenges import ProtectedResource  # noqa: PLC0415 - most servers let nobody sign in
    from wan_mcp.auth.gate import AuthGate  # noqa: PLC0415 - the same
    from wan_mcp.auth.tokens import TokenFile, read_tokens  # noqa: PLC0415 - the same

    clock = clock or SystemClock()
    tokens = None
    if settings.tokens_file is not None:
        read_tokens(settings.tokens_file)
        tokens = TokenFile(settings.tokens_file, clock)
    if settings.auth_issuer is None:
        return AuthGate(tokens=tokens)
    if settings.public_url is None:
        raise SettingsError(
            "WAN_MCP_AUTH_ISSUER is set without WAN_MCP_PUBLIC_URL.",
            "Set it to the address that clients use, without /mcp: they sign in for that address.",
        )
    from wan_mcp.auth.issuer import Issuer  # noqa: PLC0415 - only an issuer needs the network and cryptography
    from wan_mcp.auth.jwt_verification import JwtVerifier  # noqa: PLC0415 - the same

    resource = ProtectedResource(settings.public_url, settings.auth_issuer)
    issuer = Issuer(settings.auth_issuer, network=build_issuer_network(), clock=clock)
    verifier = JwtVerifier(issuer, audience=settings.auth_audience or resource.address, clock=clock)
    return AuthGate(tokens=tokens, verify=verifier.verify, resource=resource)


def build_issuer_network() -> "IssuerNetwork":
    """Let the issuer be reached as the service is: the same certificates are trusted, the same proxies used."""
    from wan_mcp.auth.issuer import IssuerNetwork  # noqa: PLC0415 - only an issuer needs the HTTP library
    from wan_mcp.dashscope.http_clients import make_trust  # noqa: PLC0415 - the same
    from wan_mcp.dashscope.network import find_proxy  # noqa: PLC0415 - the same

    return IssuerNetwork(make_trust=make_trust, find_proxy=find_proxy)


def find_secret_key(settings: Settings) -> bytes:
    """
    Find the key that a server over HTTP signs with.

    Raises:
        SettingsError: several servers share a ledger, and no key is set for them.
    """
    from wan_mcp.auth.secret_key import load_secret_key  # noqa: PLC0415 - nothing is signed over stdio

    if settings.secret_key is not None:
        return load_secret_key(settings.secret_key.get_secret_value(), settings.state_dir)
    if settings.ledger_url is not None:
        raise SettingsError(
            "WAN_MCP_LEDGER_URL is set without WAN_MCP_SECRET_KEY.",
            "Set it to the same 32 or more characters on every server, such as openssl rand -hex 32 gives.",
        )
    return load_secret_key(None, settings.state_dir)


class HttpServer(Record):
    """
    What is served over HTTP.

    `begin_drain` takes no more on and has the calls under way answered within some seconds. `stop` hands over what
    was measured, once the server has ended.
    """

    app: "ASGIApp"
    begin_drain: Callable[[float], None]
    stop: Callable[[], None]


def build_http_server(
    settings: Settings, *, host: str, address: str, metrics_port: int | None = None, timings: Timings | None = None
) -> HttpServer:
    """
    Build what is served over HTTP: `host` is the name that the server listens at, `address` what links begin with.

    Where people sign in they share no disk with the server, and get files by links. At `metrics_port`, if there is
    one, there are metrics alone.

    Raises:
        SettingsError: people cannot sign in with these settings, or packages for metrics are missing.
    """
    # Only servers over HTTP need these.
    from wan_mcp.mcp_server.health import Readiness, make_health_routes, make_metrics_route  # noqa: PLC0415
    from wan_mcp.mcp_server.http import MOST_BYTES, HttpRoutes, build_http_app, with_port  # noqa: PLC0415
    from wan_mcp.telemetry.providers import MISSING, render_metrics  # noqa: PLC0415

    gate = build_gate(settings)
    is_scraped = gate is not None or metrics_port is not None
    telemetry = _start_telemetry(settings, is_scraped=is_scraped)
    if metrics_port is not None and telemetry is None:
        raise SettingsError(
            "--metrics-port needs packages that are not installed.", "Install them: pip install 'wan-mcp[server]'."
        )
    catalogue = build_catalogue(settings)
    observers = _make_observers(catalogue, telemetry, is_audited=settings.is_shared)
    context = build_context(settings, observers=observers)
    secret_key = find_secret_key(settings)
    links = None if gate is None else build_links(context, secret_key, address)
    service = build_service(settings, context=context, timings=timings, links=links)
    gallery = None if gate is None else build_gallery(service, context, gate, secret_key=secret_key, address=address)

    async def check() -> None:
        settings.require_folders()
        await context.ledger.reports.find_first_order()
        await context.storage.find_folder(None)

    readiness = Readiness(check, context.clock)
    pages: list[BaseRoute] = []
    probes = make_health_routes(readiness)
    if gate is not None and gallery is not None:
        pages += [*_make_file_pages(service, gate), *gallery.routes]
        protect = partial(gate.protect, scope=Scope.ADMIN)
        probes.append(make_metrics_route(MISSING if telemetry is None else render_metrics, protect=protect))

    def begin_drain(seconds: float) -> None:
        readiness.drain()
        service.drain(seconds)

    server = build_server(
        service,
        secret_key=secret_key,
        instructions=INSTRUCTIONS if gate is None else SHARED_INSTRUCTIONS.format(address=address),
        make_gallery_link=None if gallery is None else gallery.make_link,
        middleware=_make_middleware(service, telemetry, is_audited=settings.is_shared),
        alongside=[*_measure_backlog(context, telemetry), *([] if gate is None else [service.uploads.run])],
    )
    app = build_http_app(
        server,
        host,
        public_url=settings.public_url,
        gate=gate,
        count_call=service.count_call,
        routes=HttpRoutes(pages=pages, probes=probes),
        most_bytes=_MOST_SHARED_BYTES if settings.is_shared else MOST_BYTES,
    )
    if metrics_port is not None:
        app = with_port(app, metrics_port, [make_metrics_route(render_metrics)])
    return HttpServer(app, begin_drain, telemetry.stop if telemetry is not None else lambda: None)


def build_links(context: OrderContext, secret_key: bytes, address: str) -> ImageLinkSigner:
    """Build what makes links that lead to an address, with a key that is for them alone."""
    from wan_mcp.auth.secret_key import derive_key  # noqa: PLC0415 - only servers that people sign in to have links

    key = derive_key(secret_key, "image links")
    return ImageLinkSigner(context.storage, context.clock, key=key, base_url=address)


def _make_file_pages(service: OrderService, gate: "AuthGate") -> "Sequence[BaseRoute]":
    from wan_mcp.mcp_server.files import make_file_routes  # noqa: PLC0415 - see above

    return make_file_routes(service, gate)


class TeamGallery(Record):
    """The gallery of a server that people sign in to: its routes, and what makes a link for the current principal."""

    routes: "Sequence[BaseRoute]"
    make_link: "MakeGalleryLink"


def build_gallery(
    service: OrderService, context: OrderContext, gate: "AuthGate", *, secret_key: bytes, address: str
) -> TeamGallery:
    """Build the gallery at an address, for who comes through a gate."""
    # Only servers that people sign in to need these.
    from wan_mcp.auth.sessions import GalleryLinkMaker, Sessions  # noqa: PLC0415
    from wan_mcp.mcp_server.concurrency_limits import ConcurrencyLimiter, ConcurrencyLimits  # noqa: PLC0415
    from wan_mcp.mcp_server.path_filter import PathFilter  # noqa: PLC0415
    from wan_mcp.web.team_gallery import describe_link, make_key_taker, make_team_gallery  # noqa: PLC0415

    used, clock = context.ledger.used_names, context.clock
    places = PathFilter(service.places)

    async def hide(facts: dict[str, Any]) -> dict[str, Any]:
        await run_sync(places.find)
        return places.hide_in(facts)

    links = GalleryLinkMaker(secret_key, address=address, clock=clock)
    routes = make_team_gallery(
        service,
        gate,
        sessions=Sessions(secret_key, confirm=gate.confirm, used=used, clock=clock),
        links=links,
        take_key=make_key_taker(used, service.count_call),
        hide=hide,
        limit=lambda app: ConcurrencyLimiter(app, ConcurrencyLimits()),
        address=address,
    )
    return TeamGallery(routes, lambda: describe_link(links.make_link(current_principal())))


def _start_telemetry(settings: Settings, *, is_scraped: bool) -> "Telemetry | None":
    """Begin to measure where that is wanted; that it cannot be done is no reason not to serve."""
    if not (is_scraped or settings.exports_metrics or settings.exports_traces):
        return None
    from wan_mcp.telemetry.providers import start_telemetry  # noqa: PLC0415 - only where it is measured

    try:
        return start_telemetry(
            exports_metrics=settings.exports_metrics,
            exports_traces=settings.exports_traces,
            is_scraped=is_scraped,
            instance=new_worker_id(),
        )
    except SettingsError as error:
        logging.getLogger(__name__).warning("%s", error)
        return None


def _make_observers(catalogue: Catalogue, telemetry: "Telemetry | None", *, is_audited: bool) -> Observers:
    observers = NO_OBSERVERS
    if telemetry is not None:
        from wan_mcp.telemetry.orders import OrderMetrics  # noqa: PLC0415 - only where it is measured

        metrics = OrderMetrics(telemetry.meter, catalogue)
        observers = Observers((metrics.observe_change,), (metrics.observe_wait,))
    if is_audited:
        from wan_mcp.telemetry.audit import make_audit, show_audit  # noqa: PLC0415 - only where people sign in
        from wan_mcp.telemetry.call_metrics import current_tool  # noqa: PLC0415 - the same

        show_audit()
        observers = replace(observers, changed=(*observers.changed, make_audit(catalogue, find_tool=current_tool)))
    return observers


def _make_middleware(
    service: OrderService, telemetry: "Telemetry | None", *, is_audited: bool
) -> "list[ServerMiddleware[Any]]":
    if telemetry is None and not is_audited:
        return []
    from wan_mcp.telemetry.call_metrics import measure_operations, name_tool  # noqa: PLC0415 - see above
    from wan_mcp_tools.prompts import PROMPTS  # noqa: PLC0415 - the same

    tools = frozenset(make(service).name for make in TOOLS)
    middleware: list[ServerMiddleware[Any]] = []
    if telemetry is not None:
        prompts = frozenset(make(service).name for make in PROMPTS)
        middleware.append(measure_operations(telemetry.meter, tools=tools, prompts=prompts, transport="tcp"))
    if is_audited:
        middleware.append(name_tool(tools))
    return middleware


def _measure_backlog(
    context: OrderContext, telemetry: "Telemetry | None"
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    if telemetry is None:
        return []
    from wan_mcp.telemetry.orders import BacklogReader, show_backlog  # noqa: PLC0415 - only where it is measured

    reader = BacklogReader(context.ledger.leases.measure_backlog, context.clock)
    show_backlog(telemetry.meter, reader)
    return [reader.run]
