"""
What an order looks like on the wire: one body for the two newer protocols, one for the legacy one.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference
"""

import json
from typing import TYPE_CHECKING, Any

from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import RequestRefusedError

if TYPE_CHECKING:
    from wan_mcp.dashscope.values import CreateOrder


def build_body(order: "CreateOrder") -> dict[str, Any]:
    """Give the body of an order. What the order leaves open is left out, so that the service's default holds."""
    if order.protocol is WireProtocol.LEGACY:
        return _legacy(order)
    return _messages(order)


def encode_body(order: "CreateOrder") -> bytes:
    """
    Give the body as UTF-8 JSON.

    Raises:
        RequestRefusedError: a text holds half of a character pair, which no encoding can carry.
    """
    text = json.dumps(build_body(order), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise RequestRefusedError(
        "The prompt holds half a character (an unpaired surrogate) and cannot be sent.", "Remove it and order again."
    )


def _messages(order: "CreateOrder") -> dict[str, Any]:
    parameters = {"negative_prompt": order.negative_prompt, **_parameters(order)}
    return {
        "model": order.model_id,
        "input": {"messages": [{"role": "user", "content": [{"text": order.prompt}]}]},
        "parameters": _present(parameters),
    }


def _legacy(order: "CreateOrder") -> dict[str, Any]:
    return {
        "model": order.model_id,
        "input": _present({"prompt": order.prompt, "negative_prompt": order.negative_prompt}),
        "parameters": _present(_parameters(order)),
    }


def _parameters(order: "CreateOrder") -> dict[str, Any]:
    # `n` is always sent: its default is 4, and every image is billed.
    return {
        "size": order.size,
        "n": order.n,
        "prompt_extend": order.prompt_extend,
        "watermark": order.watermark,
        "seed": order.seed,
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
