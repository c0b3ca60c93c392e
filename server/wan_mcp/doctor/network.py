"""The way to each region's host, and this machine's clock against the service's."""

from collections.abc import Sequence
from statistics import median

from wan_mcp.dashscope.reachability import Route
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.visits import Visit, host_of

_CHECK = "network"
_CLOCK_NOTE = 60.0
_CLOCK_PROBLEM = 600.0
_MINUTE = 60.0


def check_network(visits: Sequence[Visit]) -> list[Finding]:
    """Tell of each region whether it is reached; regions with the same fate share a finding."""
    contacts = [visit for visit in visits if visit.contact is not None]
    if not contacts:
        if all(visit.access.in_process for visit in visits):
            return [Finding(_CHECK, "the network", "not needed: the sandbox is inside this program")]
        return []
    used_fates = {_fate(visit) for visit in contacts if visit.is_used}
    groups: dict[tuple[str, str, Verdict], list[Visit]] = {}
    for visit in contacts:
        found, remedy = _fate(visit)
        verdict = Verdict.OK
        if remedy:
            # What keeps a region from being used that nobody uses is worth a note, unless it is all the same trouble.
            verdict = Verdict.PROBLEM if (found, remedy) in used_fates else Verdict.NOTE
        groups.setdefault((found, remedy, verdict), []).append(visit)
    findings = [
        Finding(_CHECK, _name(group), found, verdict, remedy) for (found, remedy, verdict), group in groups.items()
    ]
    skipped = [visit.region.title for visit in visits if visit.contact is None and not visit.is_used]
    if skipped:
        found = "not looked at, because they answer only at a workspace's own address and none is set"
        findings.append(Finding(_CHECK, " and ".join(skipped), found))
    return findings


def check_clock(visits: Sequence[Visit]) -> list[Finding]:
    """Compare this machine's clock with the service's."""
    contacts = [visit.contact for visit in visits if visit.contact is not None]
    offsets = [contact.clock_offset for contact in contacts if contact.clock_offset is not None]
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


def _fate(visit: Visit) -> tuple[str, str]:
    """Give what became of a visit, and what helps; nothing helps where nothing is wrong."""
    contact = visit.contact
    if contact is None:
        return "", ""
    if contact.problem is not None:
        return contact.problem.what, contact.problem.remedy
    how = (
        f"through the proxy {contact.route.proxy} ({contact.route.proxy_setting})"
        if contact.route.proxy
        else "directly"
    )
    return f"reached {how}{_tell_safety(contact.route)}", ""


def _tell_safety(route: Route) -> str:
    return ", with a certificate that this system trusts" if route.is_encrypted else ", without encryption"


def _name(visits: Sequence[Visit]) -> str:
    return ", ".join(f"{visit.region.title} at {host_of(visit.access)}" for visit in visits)
