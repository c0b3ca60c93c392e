"""The record that each prompt fills in, and the sentences that they share."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from wan_mcp_tools.shared.model_facts import tell_price
from wan_mcp_tools.shared.offer import Offer
from wan_mcp_tools.shared.requests import ImageRequest

Wishes = Mapping[str, str]
"""What a person filled in, by argument; what was left empty is absent."""


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """One field of a prompt's form."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    One entry of a host's menu: its words, its form, and the function that writes the text for the model.

    `write` raises `WanError` for what the person can correct.
    """

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    write: Callable[[Wishes], Awaitable[str]]


MODEL = PromptArgument("model", "Which model draws, e.g. wan2.7-image. Empty: the usual one.")
SIZE = PromptArgument("size", "A ratio such as 16:9, or pixels such as 1280*1280. Empty: a square.")
REGION = PromptArgument("region", "Where it is ordered, e.g. singapore; sandbox is free. Empty: the usual one.")
STYLE = PromptArgument("style", "How it looks, e.g. watercolour, product photograph, flat vector.")

COLLECT = (
    "While the status is PENDING or RUNNING, call get_task with the task_id and wait_seconds=45, again and again. "
    "Never order a second time because of waiting: that would be paid for as well, and the picture is saved in any "
    "case. If it fails, say why in the words of the answer, and ask before ordering again."
)
"""What to do until a picture is there."""

HAND_OVER = (
    "Tell me the path of the file, its size in pixels and the model. If I ask to see it, call view_image with the "
    "task_id."
)
"""What to do once it is."""


def check_wishes(offer: Offer, wishes: Wishes, prompt: str) -> ImageRequest:
    """
    Check the model, size and region that a person chose as an order would be checked.

    Raises:
        RequestRefusedError: one of them does not exist, or does not go with the others.
        SettingsError: the operator's default model does not exist.
    """
    return offer.request(
        prompt=prompt, model=wishes.get("model"), size=wishes.get("size"), region=wishes.get("region")
    )


def write_call(tool: str, arguments: Mapping[str, object]) -> str:
    """Say how to call a tool: `generate_image with the prompt, size="16:9" and n=4`."""
    given = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items()]
    return f"{tool} with {_join(['the prompt', *given])}"


def keep_choices(wishes: Wishes) -> dict[str, object]:
    """Give the model, size and region that a person chose, as arguments of an order."""
    return {name: wishes[name] for name in ("model", "size", "region") if name in wishes}


def tell_cost(offer: Offer, request: ImageRequest, images: int) -> str:
    """Say in a sentence what the images cost."""
    price = offer.catalogue.find(request.model).price(request.region)
    if price is None:
        return f"In {request.region} that costs nothing." if tell_price(price, request.region) == "free" else ""
    each = " each" if images > 1 else ""
    return f"That costs about {tell_price(price, request.region)}{each}."


def write_steps(title: str, facts: Mapping[str, str | None], steps: list[str]) -> str:
    """
    Lay a prompt out: what is wanted, the facts that are known, and numbered steps.

    Each fact is one line, so that no words of somebody else can pass for a step.
    """
    known = [f"{name}: {' '.join(value.split())}" for name, value in facts.items() if value]
    numbered = [f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1)]
    return "\n\n".join(part for part in (title, "\n".join(known), "\n".join(numbered)) if part)


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
