"""
What is sent to the service: where a region's calls go, what every call carries, and the body of an order.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/qwen-image-generation-and-editing-api-reference and
https://help.aliyun.com/zh/model-studio/wan-image-edit
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import MissingKeyError, RequestRefusedError, SettingsError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from wan_mcp.dashscope.types import CreateOrder
    from wan_mcp.settings import RegionAccess

SANDBOX_HOST = "sandbox.invalid"
"""The host of the sandbox inside this process, in its own links too."""
PROBE_TASK_ID = "00000000-0000-0000-0000-000000000000"
"""No task has this id. Asking for it costs nothing and tells whether the region takes the key."""

REGIONS_WITH_UPLOADS = frozenset({"beijing", "singapore", "sandbox"})
"""Where pictures can be handed over beforehand: the page names the first, programs use the second as well."""

_PATHS: Mapping[WireProtocol, str] = {
    WireProtocol.SYNC: "services/aigc/multimodal-generation/generation",
    WireProtocol.ASYNC: "services/aigc/image-generation/generation",
    WireProtocol.LEGACY: "services/aigc/text2image/image-synthesis",
}
_LEGACY_EDIT_PATH = "services/aigc/image2image/image-synthesis"
_UPLOADED = "oss://"
_MOST_OF_SERIES = "max_images"
"""The parameter that counts the images of text with pictures, where `n` is always 1."""
# The list's times carry no zone; the service's own samples are on Chinese time.
_LIST_ZONE = timezone(timedelta(hours=8))
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_KEY = re.compile(r"[\x21-\x7e]+")


class Endpoint(Record):
    """
    One region, ready to be called.

    `base_url` ends in `/api/v1`. `workspace_id` is set only where the host does not name the workspace already.
    """

    region: str
    base_url: str
    key: SecretStr
    key_setting: str
    workspace_id: str | None = None
    in_process: bool = False


def find_endpoint(access: "Mapping[str, RegionAccess]", region: str) -> Endpoint:
    """
    Find how a region is reached.

    Raises:
        SettingsError: the region is not set up, or has no address without a workspace.
        MissingKeyError: the region has no key.
    """
    entry = access.get(region)
    if entry is None:
        names = ", ".join(access) or "none"
        raise SettingsError(f"The region {region} is not set up.", f"Regions that are: {names}.")
    if entry.problem is not None:
        raise SettingsError(entry.problem)
    base_url = _find_base_url(entry).rstrip("/")
    workspace_id = _find_workspace(entry, base_url)
    return Endpoint(region, base_url, _find_key(entry), entry.key_setting, workspace_id, entry.in_process)


def _find_base_url(entry: "RegionAccess") -> str:
    if entry.base_url is None:
        raise SettingsError(
            f"The region {entry.region} has no address that all accounts share.",
            f"Set DASHSCOPE_WORKSPACE_ID_{entry.region.upper()} to the id of your workspace there.",
        )
    return entry.base_url


def _find_key(entry: "RegionAccess") -> SecretStr:
    if entry.api_key is None or not entry.api_key.get_secret_value():
        raise MissingKeyError(
            f"There is no key for the region {entry.region}.",
            f"Set {entry.key_setting} to a key of that region; region sandbox needs none, but draws placeholders.",
        )
    if not entry.in_process and not _KEY.fullmatch(entry.api_key.get_secret_value()):
        raise SettingsError(
            f"The key in {entry.key_setting} has characters that no key has (a blank, a line break).",
            f"Copy the key again into {entry.key_setting}.",
        )
    return entry.api_key


def _find_workspace(entry: "RegionAccess", base_url: str) -> str | None:
    workspace = entry.workspace_id
    named_by_host = bool(workspace) and f"//{workspace}.".lower() in base_url.lower()
    return None if named_by_host else workspace or None


def build_headers(endpoint: Endpoint, order: "CreateOrder | None" = None) -> dict[str, str]:
    """
    Give the headers of a call, without the key; `order` is None for calls that order nothing.

    An image that was uploaded is only found by a service that is told to look it up. Source:
    https://help.aliyun.com/zh/model-studio/get-temporary-file-url
    """
    headers = {"Accept": "application/json"}
    if endpoint.workspace_id:
        headers["X-DashScope-WorkSpace"] = endpoint.workspace_id
    if order is None:
        return headers
    headers["Content-Type"] = "application/json"
    if order.protocol in (WireProtocol.ASYNC, WireProtocol.LEGACY):
        headers["X-DashScope-Async"] = "enable"
    if any(image.startswith(_UPLOADED) for image in order.images):
        headers["X-DashScope-OssResourceResolve"] = "enable"
    return headers


def build_order_url(endpoint: Endpoint, order: "CreateOrder") -> str:
    """Give the address that takes this order: the oldest protocol has one of its own for pictures as input."""
    is_legacy_edit = order.protocol is WireProtocol.LEGACY and order.images
    return f"{endpoint.base_url}/{_LEGACY_EDIT_PATH if is_legacy_edit else _PATHS[order.protocol]}"


def build_policy_url(endpoint: Endpoint, model_id: str) -> str:
    """
    Give the address that says where pictures for a model are uploaded.

    Source: https://help.aliyun.com/zh/model-studio/get-temporary-file-url
    """
    return f"{endpoint.base_url}/uploads?{urlencode({'action': 'getPolicy', 'model': model_id})}"


def build_task_url(endpoint: Endpoint, task_id: str, action: str = "") -> str:
    """
    Give the address of a task, or of an action on it.

    Raises:
        RequestRefusedError: the id cannot be a task's, so that it must not become part of an address.
    """
    if not _TASK_ID.fullmatch(task_id):
        raise RequestRefusedError(f"{task_id[:80]!r} is not a task id.", "Use a task id as it was answered.")
    return f"{endpoint.base_url}/tasks/{quote(task_id, safe='')}{action}"


def is_task_id(text: str) -> bool:
    """Tell whether a text can be a task's id."""
    return _TASK_ID.fullmatch(text) is not None


def build_list_url(
    endpoint: Endpoint,
    *,
    start: float | None,
    end: float | None,
    filters: Mapping[str, str | None],
    page_no: int,
    page_size: int,
) -> str:
    """Give the address of one page of the service's list; `start` and `end` are seconds since 1970."""
    query: dict[str, str] = {}
    if start is not None:
        query["start_time"] = _stamp(math.floor(start))
    if end is not None:
        query["end_time"] = _stamp(math.ceil(end))
    query |= {name: value for name, value in filters.items() if value is not None}
    query |= {"page_no": str(page_no), "page_size": str(page_size)}
    return f"{endpoint.base_url}/tasks/?{urlencode(query)}"


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, _LIST_ZONE).strftime("%Y%m%d%H%M%S")


def encode_body(order: "CreateOrder") -> bytes:
    """
    Give the body of an order as UTF-8 JSON: one form for the two newer protocols, one for the legacy one.

    What the order leaves open is left out, so that the service's default holds.

    Raises:
        RequestRefusedError: a text holds half of a character pair, which no encoding can carry.
    """
    body = _legacy_body(order) if order.protocol is WireProtocol.LEGACY else _messages_body(order)
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise RequestRefusedError(
        "The prompt holds half a character (an unpaired surrogate) and cannot be sent.", "Remove it and order again."
    )


def _messages_body(order: "CreateOrder") -> dict[str, Any]:
    pictures: list[dict[str, Any]] = [{"image": image} for image in order.images]
    parameters = {"negative_prompt": order.negative_prompt, **_parameters(order)}
    return {
        "model": order.model_id,
        "input": {"messages": [{"role": "user", "content": [*pictures, {"text": order.prompt}]}]},
        "parameters": _present(parameters),
    }


def _legacy_body(order: "CreateOrder") -> dict[str, Any]:
    given = {
        "prompt": order.prompt,
        "negative_prompt": order.negative_prompt,
        "images": list(order.images) or None,
    }
    return {
        "model": order.model_id,
        "input": _present(given),
        "parameters": _present(_parameters(order)),
    }


def _parameters(order: "CreateOrder") -> dict[str, Any]:
    # `n` is sent wherever the model has it: its default is 4 for some, and every image is billed.
    count = 1 if _MOST_OF_SERIES in order.options else order.n
    return {
        "size": order.size,
        "n": count if order.has_n else None,
        "prompt_extend": order.prompt_extend,
        "watermark": order.watermark,
        "seed": order.seed,
        **order.options,
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
