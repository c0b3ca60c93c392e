"""
The libraries that carry metrics and traces out of the process; they come with wan-mcp[server].

They read the standard OTEL_… variables of the environment by themselves: addresses, headers, intervals, sampling.
Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from wan_mcp import __version__
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

_NAME = "wan-mcp"
MISSING = "Metrics and traces need packages that are not installed. Install them: pip install 'wan-mcp[server]'."


class Telemetry(Record):
    """Where instruments are made, and `stop`, which hands over what was measured; it may take some seconds."""

    meter: "Meter"
    stop: Callable[[], None]


def start_telemetry(*, exports_metrics: bool, exports_traces: bool, is_scraped: bool, instance: str) -> Telemetry:
    """
    Begin to measure: to export it, and for `render_metrics` where `is_scraped`. `instance` names this process.

    Raises:
        SettingsError: the packages are not installed.
    """
    try:
        return _start(exports_metrics, exports_traces, is_scraped, instance)
    except ImportError as error:
        raise SettingsError(
            "Metrics and traces need packages that are not installed.", "Install them: pip install 'wan-mcp[server]'."
        ) from error


def render_metrics() -> bytes:
    """Give everything that was measured in the text of Prometheus. It takes a moment and reads files."""
    from prometheus_client import REGISTRY, generate_latest  # noqa: PLC0415 - packages of a team's server

    return generate_latest(REGISTRY)


def _start(exports_metrics: bool, exports_traces: bool, is_scraped: bool, instance: str) -> Telemetry:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - packages of a team's server
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - the same

    own = Resource({"service.name": _NAME, "service.version": __version__, "service.instance.id": instance})
    # What the operator names wins over ours.
    resource = own.merge(OTELResourceDetector().detect())
    readers: list[MetricReader] = []
    if exports_metrics:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    if is_scraped:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415

        readers.append(PrometheusMetricReader())
    metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
    stop_traces = _start_traces(resource) if exports_traces else None

    def stop() -> None:
        if stop_traces is not None:
            stop_traces()
        metrics.shutdown(timeout_millis=3_000)

    return Telemetry(metrics.get_meter("wan_mcp", __version__), stop)


def _start_traces(resource: "Resource") -> Callable[[], None]:
    """Have the spans exported that the protocol's library makes."""
    from opentelemetry import trace  # noqa: PLC0415 - packages of a team's server
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown
