"""What was answered in a conversation, without what differs from one run to the next; and what is wrong with it."""

import difflib
import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Facts = dict[str, Any]

_SHAPES = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\blocal-[0-9A-Za-z]+\b"), "<local id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b\d{8}-([^/]+)-[0-9a-f]{8}-(\d)\b"), r"<day>-\1-<id>-\2"),
    (re.compile(r"\b\d+(?:\.\d+)? s\b"), "<seconds>"),
)
_FIRST_REPORT = 1.0
_LONGEST_SILENCE = 5.0


def read_facts(lines: Iterable[str], folder: Path) -> dict[str, Facts]:
    """Take the facts of each step from what a client printed about a server that wrote under `folder`."""
    answers: dict[str, Facts] = {}
    for line in lines:
        step = json.loads(line)
        answers[step.pop("step")] = _facts(step, folder)
    return answers


def find_faults(answers: dict[str, Facts], conversation: list[dict[str, Any]]) -> list[str]:
    """Name everything that is not as the conversation expects it."""
    goodbye = answers.get("goodbye", {"strays": ["the conversation broke off"]})
    if goodbye["strays"]:
        return [f"not part of the conversation: {stray}" for stray in goodbye["strays"]]
    return [f"{step['step']}: {fault}" for step in conversation for fault in _step_faults(answers, step)]


def find_differences(left: dict[str, Facts], right: dict[str, Facts]) -> list[str]:
    """Name every step of which two conversations give different facts; how the two were held does not count."""
    differences: list[str] = []
    for step in dict.fromkeys((*left, *right)):
        ours, theirs = (_comparable(answers.get(step)) for answers in (left, right))
        if ours != theirs:
            differences.append(f"{step} differs\n{_diff(ours, theirs)}")
    return differences


def _facts(step: dict[str, Any], folder: Path) -> Facts:
    if "content" not in step:
        return _shape(step, folder)
    structured = step.get("structuredContent")
    facts: Facts = {"error": bool(step.get("isError")), "structured": _shape(structured, folder)}
    facts["content"] = [_block(block, structured, folder) for block in step["content"]]
    if "reports" in step:
        facts["reports"] = len(step["reports"])
        facts["progress"] = _progress_faults(step["reports"], step["took"])
    return facts


def _block(block: dict[str, Any], structured: object, folder: Path) -> Facts:
    if block["type"] == "text":
        same = structured is not None and json.loads(block["text"]) == structured
        return {"type": "text", "text": "<the structured content>" if same else _shape(block["text"], folder)}
    data = block.get("data", "")
    return {"type": block["type"], "mime": block.get("mimeType"), "fits": 1_000 < len(data) * 3 // 4 <= 500_000}


def _progress_faults(reports: list[list[Any]], took: float) -> list[str]:
    """Check reports of the form [seconds since the call, progress, total, message]."""
    faults: list[str] = []
    times = [0.0, *(report[0] for report in reports), took]
    if not reports or times[1] > _FIRST_REPORT:
        faults.append(f"the first report came after {times[1]:.1f} s")
    if max(after - before for before, after in itertools.pairwise(times)) > _LONGEST_SILENCE:
        faults.append(f"there was silence between {times}")
    values = [report[1] for report in reports]
    if any(after <= before for before, after in itertools.pairwise(values)):
        faults.append(f"progress did not grow: {values}")
    if not all(report[3] for report in reports):
        faults.append("a report had no words")
    return faults


def _step_faults(answers: dict[str, Facts], step: dict[str, Any]) -> list[str]:
    facts = answers.get(step["step"])
    if facts is None:
        return ["never came"]
    if "thrown" in facts:
        return [f"the client threw {facts['thrown']}"]
    expected = step.get("expect", {})
    structured = facts.get("structured") or {}
    found = {
        "error": facts.get("error"),
        "status": structured.get("status"),
        "images": len(structured.get("images", ())),
        "tasks": len(structured.get("tasks", ())),
        "blocks": [block["type"] for block in facts.get("content", ())],
    }
    faults = [
        f"{name} is {found[name]}, not {expected[name]}"
        for name in found
        if expected.get(name, found[name]) != found[name]
    ]
    if facts.get("reports", 0) < expected.get("reports", 0):
        faults.append(f"only {facts['reports']} reports came")
    if expected.get("says", "") not in json.dumps(facts, ensure_ascii=False):
        faults.append(f"it does not say {expected['says']!r}")
    return faults + facts.get("progress", [])


def _comparable(facts: Facts | None) -> Facts | None:
    if facts is None:
        return None
    return {name: value for name, value in facts.items() if name not in ("protocol", "reports", "progress")}


def _shape(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {
            name: "<bytes>" if name == "bytes" and part else _shape(part, folder)
            for name, part in value.items()
            # The protocol's own fields differ between its eras.
            if name != "_meta"
        }
    if isinstance(value, list):
        return [_shape(part, folder) for part in value]
    if isinstance(value, str):
        for pattern, shape in _SHAPES:
            value = pattern.sub(shape, value)
        return value.replace(str(folder), "<folder>")
    return value


def _diff(ours: Facts | None, theirs: Facts | None) -> str:
    texts = [json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True).splitlines() for facts in (ours, theirs)]
    return "\n".join(list(difflib.unified_diff(*texts, "the first conversation", "this one", n=1, lineterm=""))[:40])
