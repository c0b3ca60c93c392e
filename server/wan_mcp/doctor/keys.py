"""The keys: is there one, of what shape, and which region takes it."""

from collections.abc import Collection, Sequence

from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.visits import Trial, Visit, host_of
from wan_mcp.settings import RegionAccess
from wan_mcp.settings.regions import describe_key
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.domain.errors import AnswerLostError, AppError, KeyRefusedError

_CHECK = "key"
_BASE_URL = "DASHSCOPE_HTTP_BASE_URL"
_CONSOLE = "https://www.alibabacloud.com/help/en/model-studio/get-api-key"


def check_keys(visits: Sequence[Visit], names_set: Collection[str]) -> list[Finding]:
    """Judge the key of each region that is used; `names_set` are the settings that are set."""
    return [_judge(visit, visits, names_set) for visit in visits if visit.is_used]


def _judge(visit: Visit, visits: Sequence[Visit], names_set: Collection[str]) -> Finding:
    access, title = visit.access, visit.region.title
    if access.problem is not None:
        return Finding(_CHECK, title, "cannot be used as it is set", Verdict.PROBLEM, access.problem)
    if access.api_key is None:
        return _tell_missing(visit, visits)
    if access.in_process:
        return _judge_sandbox(visit.trial)
    looked_at, host = f"{access.key_setting} in {title}", host_of(access)
    shape = describe_key(access.api_key.get_secret_value())
    if visit.trial is None:
        remedy = "Look at what was found about the network first."
        return Finding(
            _CHECK, looked_at, f"not tried, because {host} was not reached ({shape})", Verdict.NOTE, remedy
        )
    error = visit.trial.error
    if error is None:
        return Finding(_CHECK, looked_at, f"taken at {host} ({shape})")
    if isinstance(error, KeyRefusedError):
        found, remedy = _explain_refusal(visit, names_set)
        return Finding(_CHECK, looked_at, f"{found} ({shape})", Verdict.PROBLEM, remedy)
    verdict = Verdict.NOTE if error.retryable else Verdict.PROBLEM
    return Finding(
        _CHECK, looked_at, f"{error.message.rstrip('.')}, asked at {host} ({shape})", verdict, _advise(error)
    )


def _judge_sandbox(trial: Trial | None) -> Finding:
    if trial is None or trial.error is None:
        return Finding(_CHECK, "sandbox", "needs no key, and answers")
    return Finding(_CHECK, "sandbox", trial.error.message.rstrip("."), Verdict.PROBLEM, _advise(trial.error))


def _tell_missing(visit: Visit, visits: Sequence[Visit]) -> Finding:
    access, region = visit.access, visit.region
    remedy = f"Set {access.key_setting} to a key of {region.title} ({_CONSOLE})."
    keyed = [
        other.region.name for other in visits if other.access.api_key is not None and not other.access.in_process
    ]
    if keyed:
        choices = " or ".join(f"DASHSCOPE_REGION={name}" for name in keyed)
        remedy = f"Set {choices}, where there is a key. Or: {remedy[0].lower()}{remedy[1:]}"
    else:
        remedy += " To try wan-mcp without one, set DASHSCOPE_REGION=sandbox."
    return Finding(
        _CHECK, access.key_setting, f"no key for {region.title}, the default region", Verdict.PROBLEM, remedy
    )


def _explain_refusal(visit: Visit, names_set: Collection[str]) -> tuple[str, str]:
    access, title = visit.access, visit.region.title
    refused = f"refused at {host_of(access)}"
    taken = [trial for trial in visit.elsewhere if trial.is_taken]
    if any(trial.region == visit.region for trial in taken):
        found = f"{refused}, and taken at {taken[0].host}: it is a key of {title} and of another workspace"
        own = f"DASHSCOPE_WORKSPACE_ID_{access.region.upper()}"
        return found, f"Correct or remove DASHSCOPE_WORKSPACE_ID (or {own}), or use a key of that workspace."
    if taken:
        places = " and ".join(trial.host for trial in taken)
        owners = " and ".join(trial.region.title for trial in taken)
        return f"{refused}, and taken at {places}: it is a key of {owners}", _advise_move(access, taken, names_set)
    if not visit.elsewhere:
        remedy = f"Write a key that is taken there into {access.key_setting}, or remove {_BASE_URL}."
        return f"{refused}; tried nowhere else, because that is no address of the service", remedy
    tried = ", ".join(trial.host for trial in visit.elsewhere if isinstance(trial.error, KeyRefusedError))
    silent = ", ".join(trial.host for trial in visit.elsewhere if not isinstance(trial.error, KeyRefusedError))
    found = refused + (f", and also at {tried}" if tried else "") + (f"; {silent} told nothing" if silent else "")
    why = "The key is wrong, deleted, or of a region without a shared address (Frankfurt, Tokyo)."
    return found, f"{why} Copy it again, or create a key of {title} ({_CONSOLE}); write it into {access.key_setting}."


def _advise_move(access: RegionAccess, taken: Sequence[Trial], names_set: Collection[str]) -> str:
    here, there = find_region(access.region).title, taken[0].region
    if access.key_setting.endswith(f"_{access.region.upper()}"):
        return (
            f"Move this key to DASHSCOPE_API_KEY_{there.name.upper()}, and write a key of {here} into"
            f" {access.key_setting} or remove it."
        )
    choices = " or ".join(f"DASHSCOPE_REGION={trial.region.name}" for trial in taken)
    further = f" and remove {_BASE_URL}" if _BASE_URL in names_set else ""
    return (
        f"Set {choices}{further}. Or keep the region: move this key to DASHSCOPE_API_KEY_{there.name.upper()}, and"
        f" write a key of {here} into {access.key_setting}."
    )


def _advise(error: AppError) -> str:
    if isinstance(error, AnswerLostError):
        return "Run wan-mcp doctor again in a moment."
    return error.advice or "Run wan-mcp doctor again in a moment."
