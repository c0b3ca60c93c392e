"""What the service refuses, in answer to an order and inside a task."""

import socket
import ssl
from collections.abc import Callable

import httpx

from contract.situations.situation import Situation, Workspace
from fakes.dashscope import FakeService
from wan_mcp.dashscope import error_table

LATER, NO = "yes, after a while", "no"


_BAD_INPUT = "The image length and width do not meet the model restrictions."


def _refusal(
    title: str, status: int, code: str, message: str = "", *, repeat: str = NO, retry_after: float | None = None
) -> Situation:
    """Let the service refuse an order."""

    async def bring_about(workspace: Workspace):
        fault = {"kind": f"error-{status}", "code": code, "message": message or "words of the service"}
        with FakeService() as service:
            service.set_chance("create", 1.0, fault | {"retry_after": retry_after})
            async with workspace.server(service, timings={"throttle_patience": 0.1}) as call:
                return await call.make()

    return Situation("refusals of an order", title, repeat, "no", bring_about)


def _failure(title: str, code: str, message: str = "", *, repeat: str = NO) -> Situation:
    """Let a task of the service fail."""

    async def bring_about(workspace: Workspace):
        with FakeService(duration=0.05, pending=0.0) as service:
            service.script_endings({"kind": "failed", "code": code, "message": message or "words of the service"})
            async with workspace.server(service) as call:
                return await call.make()

    return Situation("failed tasks", title, repeat, "no", bring_about)


REFUSALS = (
    _refusal("the key is refused", 401, "InvalidApiKey"),
    _refusal("the key is of another workspace", 401, "NotAuthorized"),
    _refusal("the key may not use the model", 403, "Model.AccessDenied"),
    _refusal("the key has no access to the workspace", 403, "Workspace.AccessDenied"),
    _refusal("Model Studio is not activated", 403, "AccessDenied.Unpurchased"),
    _refusal("the quota is used up", 429, "Throttling.AllocationQuota"),
    _refusal("the quota is used up for weeks", 429, "Throttling.RateQuota", retry_after=1_849_295),
    _refusal("the free quota is used up", 403, "AllocationQuota.FreeTierOnly"),
    _refusal("the account is in arrears", 400, "Arrearage"),
    _refusal("something must be bought first", 429, "CommodityNotPurchased"),
    _refusal("the words are refused by inspection", 400, "DataInspectionFailed", "Input data may contain ..."),
    _refusal(
        "the words are refused by the model", 400, "InternalError.Algo.DataInspectionFailed", "Input data may ..."
    ),
    _refusal("a suspicion of somebody's rights", 400, "IPInfringementSuspect"),
    _refusal("a rule of the account refuses the words", 400, "CustomRoleBlocked"),
    _refusal("the key's region does not have the model", 404, "ModelNotFound"),
    _refusal("nothing is at the address", 404, "NotFound"),
    _refusal("the protocol is not allowed", 403, "AccessDenied", "user api does not support synchronous calls."),
    _refusal("model and protocol do not fit", 400, "InvalidParameter", "url error, please check url"),
    _refusal("a parameter is refused", 400, "InvalidParameter", "num_images_per_prompt must be 1"),
    _refusal("a parameter is refused by the model", 400, "InternalError.Algo.InvalidParameter", "The size is bad."),
    _refusal("the model has trouble at once", 400, "InternalError.Algo", "Algo process error.", repeat="yes"),
    _refusal("the order cannot be used", 400, "BadRequest.TooLarge", "Payload too large."),
    _refusal("a file cannot be fetched", 400, "InvalidURL"),
    _refusal("an input picture has a size that the model does not take", 400, "InvalidParameter", _BAD_INPUT),
    _refusal("too many requests, for longer than is waited", 429, "Throttling.RateQuota", repeat=LATER),
    _refusal("an unknown code", 400, "BrandNew", "Nobody knows this one."),
    _refusal("an unknown code and status", 418, "BrandNew", "Nobody knows this one."),
    _refusal("no code at all, HTTP 418", 418, "no code", "Nobody knows this one."),
)

FAILURES = (
    _failure("the task fails in the service", "InternalError", repeat="yes"),
    _failure("the task runs out of time", "InternalError.Timeout", repeat="yes"),
    _failure("there is no capacity", "ModelUnavailable", repeat=LATER),
    _failure("the prompt cannot be rewritten", "RewriteFailed", repeat="yes, with prompt_extend=false"),
    _failure("the finished picture is refused", "DataInspectionFailed", "Output data may contain ..."),
    _failure("the words are refused inside the task", "DataInspectionFailed", "Input data may contain ..."),
    _failure(
        "the words are refused by the model, inside the task", "InternalError.Algo.DataInspectionFailed", "Input data"
    ),
    _failure("the task fails for an unknown reason", "BrandNew", "Nobody knows this one."),
)


def _unreached(title: str, error: Exception, *, repeat: str = "yes") -> Situation:
    """Let the network fail before anything is sent."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return _answered(title, fail, repeat=repeat)


def _intercepted(title: str, status: int) -> Situation:
    """Let somebody else than the service refuse the order."""
    return _answered(title, lambda request: httpx.Response(status, text="<html>Access denied</html>"), repeat=NO)


def _answered(title: str, answer: Callable[[httpx.Request], httpx.Response], *, repeat: str) -> Situation:
    async def bring_about(workspace: Workspace):
        key = {"DASHSCOPE_REGION": "singapore", "DASHSCOPE_API_KEY": "sk-test-singapore"}
        async with workspace.server(transport=httpx.MockTransport(answer), **key) as call:
            return await call.make()

    return Situation("network", title, repeat, "no", bring_about)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


async def _closed_port(workspace: Workspace):
    key = {"DASHSCOPE_REGION": "singapore", "DASHSCOPE_API_KEY": "sk-test-singapore"}
    async with workspace.server(DASHSCOPE_HTTP_BASE_URL="http://127.0.0.1:9/api/v1", **key) as call:
        return await call.make()


async def _silent(workspace: Workspace):
    with FakeService() as service:
        service.set_chance("query", 1.0, "hang")
        async with workspace.server(service) as call:
            return await call("get_task", task_id="00000000-1111-2222-3333-444444444444")


async def _asked_in_vain(workspace: Workspace):
    with FakeService() as service:
        service.set_chance("query", 1.0, "error-500")
        async with workspace.server(service) as call:
            return await call("get_task", task_id="00000000-1111-2222-3333-444444444444")


async def _cancel_unanswered(workspace: Workspace):
    with FakeService(pending=60) as service:
        service.set_chance("cancel", 1.0, "hang")
        async with workspace.server(service, WAN_MCP_WAIT_SECONDS="1") as call:
            task = await call.submit()
            return await call("cancel_task", task_id=task["task_id"])


async def _held_up(workspace: Workspace):
    with FakeService(pending=60) as service:
        service.set_chance("query", 1.0, "error-500")
        async with workspace.server(service) as call:
            return await call.make_until(lambda: service.count_queries().total() > 1)


NETWORK = (
    Situation("network", "nothing listens at the address", "yes", "no", _closed_port),
    _unreached("the name cannot be resolved", _caused(httpx.ConnectError(""), socket.gaierror()), repeat="yes"),
    _unreached(
        "the certificate is not trusted",
        _caused(httpx.ConnectError(""), ssl.SSLCertVerificationError()),
        repeat="no",
    ),
    _unreached("the proxy refuses", httpx.ProxyError("")),
    _unreached("nobody answers the connection", httpx.ConnectTimeout("")),
    _intercepted("a firewall answers in the place of the service", 403),
    _intercepted("a proxy wants a name and a password", 407),
    Situation("network", "the service does not answer a question", "yes", "no", _silent),
    Situation("network", "the service has trouble when it is asked", "yes", "no", _asked_in_vain),
    Situation("network", "the service does not answer a cancellation", "yes", "no", _cancel_unanswered),
    Situation("network", "an order is held up by trouble of the service", "not needed", "no", _held_up),
)

MEANINGS = tuple(value for value in vars(error_table).values() if isinstance(value, error_table.ErrorMeaning))
"""Every row of the program's own table of the service's codes."""
