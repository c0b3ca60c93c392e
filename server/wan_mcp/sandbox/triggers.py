"""
Words in a prompt that make the sandbox misbehave, for trying things out.

| the prompt holds   | what happens                                                                         |
|--------------------|--------------------------------------------------------------------------------------|
| `sandbox:refuse`   | the inspection refuses the prompt: `DataInspectionFailed`                            |
| `sandbox:infringe` | the prompt is suspected of infringement: `IPInfringementSuspect`                     |
| `sandbox:fail`     | the work breaks off at its end: `InternalError.Timeout`                              |
| `sandbox:partial`  | one of two or more images is missing: an error in its place on the legacy protocol,  |
|                    | one image fewer on the newer protocols                                               |
| `sandbox:slow`     | the order takes 60 seconds                                                           |
| a word of a short  | as `sandbox:refuse`: a small stand-in for the service's inspection                   |
| moderation list    |                                                                                      |

The refusals fail the task on the asynchronous protocols, and are an error answer on the synchronous one.
"""

import re
from dataclasses import dataclass

from wan_mcp.sandbox import refusals
from wan_mcp.sandbox.refusals import Trouble

SLOW_SECONDS = 60.0
_MODERATED = re.compile(r"\b(?:gore|beheading|dismember\w*|torture|porn\w*|nude)\b|血腥|色情", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fate:
    """
    What the words of a prompt bring about.

    `refusal` is decided before any work, `breakdown` at the end of it. `seconds` replaces the usual duration.
    """

    refusal: Trouble | None = None
    breakdown: Trouble | None = None
    is_partial: bool = False
    seconds: float | None = None


def read_fate(prompt: str) -> Fate:
    """Look for the words in a prompt, in any case."""
    text = prompt.casefold()
    refusal = None
    if "sandbox:refuse" in text or _MODERATED.search(text):
        refusal = refusals.INSPECTED
    elif "sandbox:infringe" in text:
        refusal = refusals.INFRINGING
    return Fate(
        refusal=refusal,
        breakdown=refusals.TIMED_OUT if "sandbox:fail" in text else None,
        is_partial="sandbox:partial" in text,
        seconds=SLOW_SECONDS if "sandbox:slow" in text else None,
    )
