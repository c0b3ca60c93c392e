"""
Whether metrics and traces are exported: by the standard variables, which the libraries for it read as well.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from wan_mcp.settings.values import Values

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def is_exported(values: Values, signal: str) -> bool:
    """Say whether a signal, `METRICS` or `TRACES`, has an address to go to and is not switched off."""

    def find(name: str) -> str:
        # A settings file is none of the libraries' business.
        return (values.text(name) or "").lower() if 0 in values.sources(name) else ""

    if find("OTEL_SDK_DISABLED") == "true":
        return False
    if find(f"OTEL_{signal}_EXPORTER") not in ("", "otlp"):
        return False
    return bool(find(_ENDPOINT) or find(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
