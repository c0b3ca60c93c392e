"""Whether an order that names neither model nor region can be made."""

from collections.abc import Sequence

from wan_mcp.app import build_service
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.visits import Visit
from wan_mcp.settings import Settings
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

_CHECK = "model"


def check_model(settings: Settings, visits: Sequence[Visit]) -> list[Finding]:
    """Check the default model against the catalogue, and against what the service shows to the key."""
    looked_at = f"the default model {settings.model}"
    try:
        catalogue = build_service(settings).catalogue
        region = catalogue.request(prompt="A picture").region
    except (RequestRefusedError, SettingsError) as error:
        return [Finding(_CHECK, looked_at, error.message.rstrip("."), Verdict.PROBLEM, error.advice)]
    title, model = find_region(region).title, catalogue.find(settings.model)
    shown = next((visit.models for visit in visits if visit.region.name == region), frozenset[str]())
    if shown and model.wire_id(region) not in shown:
        return [
            Finding(
                _CHECK,
                looked_at,
                f"offered in {title}, and not among the {len(shown)} models that the service lists for this key",
                Verdict.NOTE,
                "If it is refused, allow the model in the Model Studio console, or name another in WAN_MCP_MODEL.",
            )
        ]
    if region != settings.default_region:
        here = find_region(settings.default_region).title
        return [
            Finding(
                _CHECK,
                looked_at,
                f"not offered in {here}; an order that names no region goes to {title}",
                Verdict.NOTE,
                "If that is not wanted, name another model in WAN_MCP_MODEL or another region in DASHSCOPE_REGION.",
            )
        ]
    return [Finding(_CHECK, looked_at, f"offered in {title}" + (", also to this key" if shown else ""))]
