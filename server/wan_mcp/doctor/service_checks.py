"""What the service makes of the settings: the route to each region, the clocks, the keys and the default model."""

from collections.abc import Collection, Mapping, Sequence
from statistics import median

from wan_mcp.app import build_service
from wan_mcp.dashscope.reachability import Reachability
from wan_mcp.doctor.region_probe import KeyAttempt, RegionProbe, host_of
from wan_mcp.doctor.types import Finding, Verdict
from wan_mcp.settings import RegionAccess, Settings
from wan_mcp.settings.key_format import describe_key
from wan_mcp.settings.network_variables import (
    find_certificate_problem,
    find_proxy_variable,
    find_remarks,
    read_certificate_variables,
)
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.domain.errors import (
    AnswerLostError,
    AppError,
    KeyRefusedError,
    RequestRefusedError,
    SettingsError,
)

_BASE_URL = "DASHSCOPE_HTTP_BASE_URL"
_CONSOLE = "https://www.alibabacloud.com/help/en/model-studio/get-api-key"
_CLOCK_NOTE = 60.0
_CLOCK_PROBLEM = 600.0
_MINUTE = 60.0


def check_network(probes: Sequence[RegionProbe]) -> list[Finding]:
    """Tell of each region whether it is reached; regions of which the same is found share a finding."""
    tried = [probe for probe in probes if probe.reachability is not None]
    if not tried:
        if all(probe.access.in_process for probe in probes):
            return [Finding("network", "the network", "not needed: the sandbox is inside this program")]
        return []
    used = {_describe_reachability(probe.reachability) for probe in tried if probe.is_used}
    groups: dict[tuple[str, Verdict, str], list[RegionProbe]] = {}
    for probe in tried:
        found, remedy = _describe_reachability(probe.reachability)
        verdict = Verdict.OK
        if remedy:
            # What keeps a region from being used that nobody uses is worth a note, unless it is the same for all.
            verdict = Verdict.PROBLEM if (found, remedy) in used else Verdict.NOTE
        groups.setdefault((found, verdict, remedy), []).append(probe)
    findings = [Finding("network", _list_hosts(group), *common) for common, group in groups.items()]
    skipped = [probe.region.title for probe in probes if probe.reachability is None and not probe.is_used]
    if skipped:
        found = "not looked at, because they answer only at a workspace's own address and none is set"
        findings.append(Finding("network", " and ".join(skipped), found))
    return findings


def check_network_variables(environ: Mapping[str, str], probes: Sequence[RegionProbe]) -> list[Finding]:
    """Tell what is odd about the variables of the network, beside what keeps a region from being reached."""
    told = [probe.reachability.problem.what for probe in probes if probe.reachability and probe.reachability.problem]
    findings = [
        Finding("network", name, remark, Verdict.NOTE, "Correct it: other programs may read it otherwise.")
        for name, remark in find_remarks(environ)
    ]
    variables = [find_proxy_variable(environ, scheme) for scheme in ("https", "http")]
    # A proxy that a region needs is told with the region; without certificates none of them is reached.
    problems = {variable.problem: Verdict.NOTE for variable in variables if variable is not None}
    is_needed = any(probe.is_used and not probe.access.in_process for probe in probes)
    certificates = find_certificate_problem(read_certificate_variables(environ))
    problems[certificates] = Verdict.PROBLEM if is_needed else Verdict.NOTE
    findings += [
        Finding("network", problem.name or "", problem.statement, verdict, problem.advice)
        for problem, verdict in problems.items()
        if problem is not None and not any(what.startswith(f"{problem.name} ") for what in told)
    ]
    return findings


def check_clock(probes: Sequence[RegionProbe]) -> list[Finding]:
    """Compare this machine's clock with the service's."""
    tried = [probe.reachability for probe in probes if probe.reachability is not None]
    offsets = [reachability.clock_offset for reachability in tried if reachability.clock_offset is not None]
    if not offsets:
        return []
    offset = median(offsets)
    looked_at, size = "this machine's clock", abs(offset)
    if size < _CLOCK_NOTE:
        return [Finding("clock", looked_at, "agrees with the service's")]
    return [
        Finding(
            "clock",
            looked_at,
            f"{round(size / _MINUTE)} min {'behind' if offset > 0 else 'ahead of'} the service's",
            Verdict.PROBLEM if size >= _CLOCK_PROBLEM else Verdict.NOTE,
            "Set it, best by network time: certificates and links are valid for certain times only.",
        )
    ]


def check_keys(probes: Sequence[RegionProbe], names_set: Collection[str]) -> list[Finding]:
    """Judge the key of each region that is used; `names_set` are the settings that are set."""
    return [_check_key(probe, probes, names_set) for probe in probes if probe.is_used]


def check_model(settings: Settings, probes: Sequence[RegionProbe]) -> list[Finding]:
    """Check the default model against the catalogue, and against what the service shows to the key."""
    looked_at = f"the default model {settings.model}"
    try:
        catalogue = build_service(settings).catalogue
        region = catalogue.make_request(prompt="A picture").region
    except (RequestRefusedError, SettingsError) as error:
        return [Finding("model", looked_at, error.message.rstrip("."), Verdict.PROBLEM, error.advice)]
    title, model = find_region(region).title, catalogue.find(settings.model)
    shown = next((probe.models for probe in probes if probe.region.name == region), frozenset[str]())
    if shown and model.wire_id(region) not in shown:
        return [
            Finding(
                "model",
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
                "model",
                looked_at,
                f"not offered in {here}; an order that names no region goes to {title}",
                Verdict.NOTE,
                "If that is not wanted, name another model in WAN_MCP_MODEL or another region in DASHSCOPE_REGION.",
            )
        ]
    return [Finding("model", looked_at, f"offered in {title}" + (", also to this key" if shown else ""))]


def _describe_reachability(reachability: Reachability | None) -> tuple[str, str]:
    """Say how a region was reached, or what stood in the way and what helps; nothing helps where nothing is wrong."""
    if reachability is None:
        return "", ""
    if reachability.problem is not None:
        return reachability.problem.what, reachability.problem.advice
    route = reachability.route
    how = f"through the proxy {route.proxy} ({route.proxy_setting})" if route.proxy else "directly"
    safety = "with a certificate that this system trusts" if route.is_encrypted else "without encryption"
    return f"reached {how}, {safety}", ""


def _list_hosts(probes: Sequence[RegionProbe]) -> str:
    return ", ".join(f"{probe.region.title} at {host_of(probe.access)}" for probe in probes)


def _check_key(probe: RegionProbe, probes: Sequence[RegionProbe], names_set: Collection[str]) -> Finding:
    access, title = probe.access, probe.region.title
    if access.problem is not None:
        return Finding("key", title, "cannot be used as it is set", Verdict.PROBLEM, access.problem)
    if access.api_key is None:
        return _describe_missing_key(probe, probes)
    if access.in_process:
        return _check_sandbox(probe.attempt)
    looked_at, host = f"{access.key_setting} in {title}", host_of(access)
    shape = describe_key(access.api_key.get_secret_value())
    if probe.attempt is None:
        remedy = "Look at what was found about the network first."
        return Finding("key", looked_at, f"not tried, because {host} was not reached ({shape})", Verdict.NOTE, remedy)
    error = probe.attempt.error
    if error is None:
        return Finding("key", looked_at, f"taken at {host} ({shape})")
    if isinstance(error, KeyRefusedError):
        found, remedy = _explain_refusal(probe, names_set)
        return Finding("key", looked_at, f"{found} ({shape})", Verdict.PROBLEM, remedy)
    verdict = Verdict.NOTE if error.retryable else Verdict.PROBLEM
    return Finding(
        "key", looked_at, f"{error.message.rstrip('.')}, asked at {host} ({shape})", verdict, _advise(error)
    )


def _check_sandbox(attempt: KeyAttempt | None) -> Finding:
    if attempt is None or attempt.error is None:
        return Finding("key", "sandbox", "needs no key, and answers")
    return Finding("key", "sandbox", attempt.error.message.rstrip("."), Verdict.PROBLEM, _advise(attempt.error))


def _describe_missing_key(probe: RegionProbe, probes: Sequence[RegionProbe]) -> Finding:
    access, region = probe.access, probe.region
    remedy = f"Set {access.key_setting} to a key of {region.title} ({_CONSOLE})."
    keyed = [
        other.region.name for other in probes if other.access.api_key is not None and not other.access.in_process
    ]
    if keyed:
        choices = " or ".join(f"DASHSCOPE_REGION={name}" for name in keyed)
        remedy = f"Set {choices}, where there is a key. Or: {remedy[0].lower()}{remedy[1:]}"
    else:
        remedy += " To try wan-mcp without one, set DASHSCOPE_REGION=sandbox."
    return Finding(
        "key", access.key_setting, f"no key for {region.title}, the default region", Verdict.PROBLEM, remedy
    )


def _explain_refusal(probe: RegionProbe, names_set: Collection[str]) -> tuple[str, str]:
    access, title = probe.access, probe.region.title
    refused = f"refused at {host_of(access)}"
    taken = [attempt for attempt in probe.other_attempts if attempt.is_taken]
    if any(attempt.region == probe.region for attempt in taken):
        found = f"{refused}, and taken at {taken[0].host}: it is a key of {title} and of another workspace"
        own = f"DASHSCOPE_WORKSPACE_ID_{access.region.upper()}"
        return found, f"Correct or remove DASHSCOPE_WORKSPACE_ID (or {own}), or use a key of that workspace."
    if taken:
        places = " and ".join(attempt.host for attempt in taken)
        owners = " and ".join(attempt.region.title for attempt in taken)
        return f"{refused}, and taken at {places}: it is a key of {owners}", _advise_move(access, taken, names_set)
    if not probe.other_attempts:
        remedy = f"Write a key that is taken there into {access.key_setting}, or remove {_BASE_URL}."
        return f"{refused}; tried nowhere else, because that is no address of the service", remedy
    refusing = [attempt for attempt in probe.other_attempts if isinstance(attempt.error, KeyRefusedError)]
    tried = ", ".join(attempt.host for attempt in refusing)
    silent = ", ".join(attempt.host for attempt in probe.other_attempts if attempt not in refusing)
    found = refused + (f", and also at {tried}" if tried else "") + (f"; {silent} told nothing" if silent else "")
    why = "The key is wrong, deleted, or of a region without a shared address (Frankfurt, Tokyo)."
    return found, f"{why} Copy it again, or create a key of {title} ({_CONSOLE}); write it into {access.key_setting}."


def _advise_move(access: RegionAccess, taken: Sequence[KeyAttempt], names_set: Collection[str]) -> str:
    here, there = find_region(access.region).title, taken[0].region
    if access.key_setting.endswith(f"_{access.region.upper()}"):
        return (
            f"Move this key to DASHSCOPE_API_KEY_{there.name.upper()}, and write a key of {here} into"
            f" {access.key_setting} or remove it."
        )
    choices = " or ".join(f"DASHSCOPE_REGION={attempt.region.name}" for attempt in taken)
    further = f" and remove {_BASE_URL}" if _BASE_URL in names_set else ""
    return (
        f"Set {choices}{further}. Or keep the region: move this key to DASHSCOPE_API_KEY_{there.name.upper()}, and"
        f" write a key of {here} into {access.key_setting}."
    )


def _advise(error: AppError) -> str:
    if isinstance(error, AnswerLostError):
        return "Run wan-mcp doctor again in a moment."
    return error.advice or "Run wan-mcp doctor again in a moment."
