"""Orders and costs as the gallery's page reads them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostLine, CostReport, ImageCount, estimate, make_report, tell_sum
from wan_mcp_tools.domain.errors import ErrorCode, RequestRefusedError
from wan_mcp_tools.domain.service import AlbumQuery, AlbumState
from wan_mcp_tools.domain.tasks import Task
from wan_mcp_tools.results import task_result

Facts = dict[str, Any]
"""Something that is JSON."""


def describe_order(task: Task, catalogue: Catalogue) -> Facts:
    """Give an order: how it stands as the tools tell it, what was asked for, and what it costs, in words."""
    facts: Facts = {
        "id": task.local_id,
        "created_at": task.created_at.timestamp(),
        "open": task.open,
        "facts": task_result(task).model_dump(mode="json", exclude_none=True),
        # Of images that are missing in between, the others keep their number.
        "indexes": [image.index for image in task.images],
    }
    if task.updated_at is not None:
        facts["updated_at"] = task.updated_at.timestamp()
    if task.actual_prompt:
        facts["actual_prompt"] = task.actual_prompt
    request = task.request
    if request is None:
        return facts
    facts["order"] = request.to_dict()
    facts["cost_again"] = tell_sum(estimate([request], catalogue))
    made = len(task.images) + sum(
        image.url is not None or image.code == ErrorCode.FILE_GONE for image in task.failed_images
    )
    if task.open and not made:
        facts["cost"] = tell_sum(estimate([request], catalogue))
    elif made:
        facts["cost"] = tell_sum(estimate([replace(request, n=made)], catalogue))
    return facts


def describe_costs(report: CostReport, catalogue: Catalogue) -> Facts:
    """Give the sums of a report: of all, by day, and by model."""

    def sum_up(key: Callable[[ImageCount], str]) -> list[Facts]:
        groups: dict[str, list[ImageCount]] = {}
        for line in _charged(report.lines):
            groups.setdefault(key(line.count), []).append(line.count)
        return [
            {"name": name, "images": part.charged.images, "words": tell_sum(part.charged)}
            for name, counts in groups.items()
            for part in (make_report(counts, catalogue, since=report.since, until=report.until),)
        ]

    return {
        "images": report.charged.images,
        "words": tell_sum(report.charged) if report.charged.images else "",
        "unclear": report.unclear,
        "days": sum_up(lambda count: count.day.isoformat()),
        "models": sorted(sum_up(_name_model), key=lambda row: -row["images"]),
    }


def read_query(given: Mapping[str, str]) -> AlbumQuery:
    """
    Read what a page asks for.

    Raises:
        RequestRefusedError: a value is none that a page sends.
    """
    try:
        return AlbumQuery(
            text=given.get("text") or None,
            state=AlbumState(given["state"]) if given.get("state") else None,
            model=given.get("model") or None,
            region=given.get("region") or None,
            since=float(given["since"]) if given.get("since") else None,
            until=float(given["until"]) if given.get("until") else None,
        )
    except ValueError as error:
        raise RequestRefusedError(f"The filter cannot be read: {error}.", "Reload the page.") from error


def _charged(lines: Iterable[CostLine]) -> list[CostLine]:
    return [line for line in lines if line.count.charged]


def _name_model(count: ImageCount) -> str:
    return f"{count.model or 'unknown model'} · {count.region}"
