"""What who calls may: name paths of the server, call so often; and how much each has ordered."""

import math
from dataclasses import replace

from wan_mcp.ledger import Ledger, RateLimit
from wan_mcp.settings import Settings
from wan_mcp_tools.domain.errors import CallLimitError, LedgerError, RequestRefusedError
from wan_mcp_tools.domain.principals import Principal
from wan_mcp_tools.domain.requests import ImageRequest, InputSource
from wan_mcp_tools.domain.usage import UsageReport, Use

_INPUTS = "Upload the picture and give its id, or name an earlier result by TASK_ID#INDEX, or give an https URL."


def check_request(request: ImageRequest, principal: Principal) -> None:
    """
    Make sure that a request names no path of the server, unless the user of this machine has made it.

    Raises:
        RequestRefusedError: it does.
    """
    check_output_dir(request.output_dir, principal)
    if not principal.is_local and any(image.source is InputSource.FILE for image in request.images):
        raise RequestRefusedError(
            "images takes no path of a file: you do not share a disk with this server.", _INPUTS
        )


def check_output_dir(output_dir: str | None, principal: Principal) -> None:
    """
    Make sure that no folder of the server is chosen, unless by the user of this machine.

    Raises:
        RequestRefusedError: one is.
    """
    if output_dir and not principal.is_local:
        raise RequestRefusedError(
            "output_dir takes no folder: you do not share a disk with this server.",
            "Leave it out; the answer has an address of each image. filename may give it a name.",
        )


def check_view(path: str | None, principal: Principal) -> None:
    """
    Make sure that no file of the server is looked at by its path, unless by the user of this machine.

    Raises:
        RequestRefusedError: one is.
    """
    if path is not None and not principal.is_local:
        raise RequestRefusedError(
            "path takes no file: you do not share a disk with this server.",
            "Give the task_id and the index of the image.",
        )


async def report_usage(ledger: Ledger, settings: Settings, caller: Principal) -> UsageReport:
    """Give how much a caller has ordered and may order; who sees everybody's orders is told of all."""
    usage = UsageReport(
        principal=caller.id,
        use=Use(),
        quota=settings.user_quota,
        server_quota=settings.quota,
        calls_per_minute=settings.user_calls_per_minute,
    )
    # A ledger that is not there is not made for a look into it.
    if not await ledger.exists():
        return usage
    usage = replace(usage, use=await ledger.quotas.read_use(caller.id))
    if caller.sees is not None:
        return usage
    others = {name: await ledger.quotas.read_use(name) for name in await ledger.quotas.list_principals()}
    return replace(usage, server_use=await ledger.quotas.read_use(None), others=others)


async def count_call(ledger: Ledger, settings: Settings, caller: Principal) -> None:
    """
    Count a call of somebody who has signed in.

    A ledger that cannot be used refuses nobody here: what the call needs of it will tell.

    Raises:
        CallLimitError: there were too many in the last minute, by all servers on the ledger.
    """
    most = settings.user_calls_per_minute
    if not most or caller.is_local:
        return
    limit = RateLimit(f"calls/{caller.id}", most / 60, most, is_durable=False)
    try:
        wait = await ledger.limits.take(limit)
    except LedgerError:
        return
    if wait > 0:
        raise CallLimitError(
            f"More than {most} calls a minute came from {caller.id}.",
            f"Call again in {math.ceil(wait)} s; a call that waits asks for a task only once.",
            retry_after=wait,
        )
