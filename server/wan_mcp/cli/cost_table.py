"""What the last days' images cost, as a table and as JSON."""

from wan_mcp.cli.console import Console
from wan_mcp.cli.presenting import to_json
from wan_mcp.cli.table import lay_out
from wan_mcp_tools.catalogue.prices import CostLine, CostReport, Sum, report_facts, tell_sum

_HEADINGS = ("DAY", "REGION", "MODEL", "IMAGES", "COST", "OPEN")


def show_costs(console: Console, report: CostReport, *, as_json: bool) -> None:
    """Write the images and their cost by day, region and model, and the sums of them."""
    if as_json:
        console.say(to_json(report_facts(report)))
        return
    if not report.lines:
        console.note(f"No images were ordered from {report.since} to {report.until}.")
        return
    for line in lay_out([_HEADINGS, *(_describe(line) for line in report.lines)]):
        console.say(line)
    console.say("")
    console.say(
        f"{_images(report.charged.images)} made from {report.since} to {report.until}: {tell_sum(report.charged)}"
    )
    if report.open.images:
        console.say(f"{_images(report.open.images)} ordered and not made yet: {tell_sum(report.open)}")
    if report.unclear:
        console.say(f"{_images(report.unclear)} of orders whose outcome is not known: charged or not")
    if report.found:
        console.say(f"{_images(report.found)} of tasks found at the service, ordered elsewhere: in no sum")


def _describe(line: CostLine) -> tuple[str, ...]:
    count = line.count
    expected = str(count.open) if count.open else "-"
    return (
        count.day.isoformat(),
        count.region,
        count.model or "-",
        str(count.charged),
        _tell_cost(line.charged),
        expected,
    )


def _tell_cost(total: Sum) -> str:
    if not total.images:
        return "-"
    if total.unpriced:
        return "not known"
    return " ".join(str(money) for money in total.amounts) or "free"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
