"""Which scope a message needs. What is not named here shows what belongs to somebody: it needs wan:read."""

from typing import cast

from pydantic_core import from_json

from wan_mcp_tools.domain.principals import Scope

_FREE_METHODS = frozenset(
    {"initialize", "ping", "server/discover", "tools/list", "prompts/list", "prompts/get", "logging/setLevel"}
)
"""What tells nothing of anybody: any valid token will do, as for every notification."""
_METHODS = {"tasks/cancel": Scope.CANCEL}
_TOOLS = {
    "generate_image": Scope.ORDER,
    "submit_task": Scope.ORDER,
    "cancel_task": Scope.CANCEL,
}


def find_scopes(body: bytes) -> frozenset[Scope]:
    """
    Give the scopes that the messages of a body need, all of them together.

    What cannot be read here could be read by somebody else: it needs all that a message can need.
    """
    if not body:
        return frozenset()
    try:
        found: object = from_json(body)
    except ValueError:
        return frozenset({Scope.ORDER, Scope.CANCEL})
    messages = cast("list[object]", found) if isinstance(found, list) else [found]
    needed = [_find_scope(cast("dict[str, object]", each)) for each in messages if isinstance(each, dict)]
    return frozenset(scope for scope in needed if scope is not None)


def _find_scope(message: dict[str, object]) -> Scope | None:
    method = message.get("method")
    if not isinstance(method, str) or method in _FREE_METHODS or method.startswith("notifications/"):
        return None
    params = message.get("params")
    if method == "tools/call" and isinstance(params, dict):
        # A header names the tool as well, but it is this name that is called.
        return _TOOLS.get(str(cast("dict[str, object]", params).get("name")), Scope.READ)
    return _METHODS.get(method, Scope.READ)
