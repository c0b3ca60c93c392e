"""The ledger: is it sound, what is unfinished in it, and how much may still be ordered."""

from functools import partial

from wan_mcp.doctor.apart import run_apart
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.world import World
from wan_mcp.ledger.examining import LedgerFacts, OpenOrder, examine_ledger
from wan_mcp.settings import Settings
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError

_CHECK = "ledger"
_NEAR = 4 * 3600.0
"""Seconds before its 24 hours are over in which an unfinished order is urgent."""
_SHOWN = 3
_SELDOM_LEFT = 0.8
_MOMENTARY = frozenset({ErrorCode.LEDGER_LOCKED, ErrorCode.LEDGER_UNFINISHED_WRITE})
_REPLACE = "Move the file away (keep it); then wan-mcp tasks --remote finds the tasks of the last 24 hours."


async def check_ledger(world: World, settings: Settings) -> list[Finding]:
    """Look at the ledger as a whole, at its unfinished orders, and at the orders of the last 24 hours."""
    path = settings.state_dir / "ledger.sqlite3"
    now = world.clock.now()
    looked_at = str(path)
    try:
        facts = await run_apart(partial(examine_ledger, path, now=now))
    except LedgerError as error:
        verdict = Verdict.NOTE if error.code in _MOMENTARY else Verdict.PROBLEM
        remedy = _REPLACE if error.code == ErrorCode.LEDGER_DAMAGED else error.advice
        return [Finding(_CHECK, looked_at, error.message.rstrip("."), verdict, remedy)]
    if facts is None:
        findings = [Finding(_CHECK, looked_at, "not there yet; the first order makes it")]
        return [*findings, *check_limit(0, settings.daily_image_limit)]
    if facts.version > facts.newest:
        remedy = "Update wan-mcp, or name another folder in WAN_MCP_STATE_DIR."
        found = f"version {facts.version}, written by a newer release; this one knows {facts.newest}"
        return [Finding(_CHECK, looked_at, found, Verdict.PROBLEM, remedy)]
    if facts.damage is not None:
        return [Finding(_CHECK, looked_at, f"damaged: {facts.damage}", Verdict.PROBLEM, _REPLACE)]
    return [
        _describe(facts, looked_at),
        *check_unfinished(facts.open, now),
        *check_limit(facts.images_today, settings.daily_image_limit),
    ]


def check_unfinished(orders: tuple[OpenOrder, ...], now: float) -> list[Finding]:
    """Find orders that nobody works on, above all those whose images the service soon forgets."""
    if not orders:
        return [Finding("tasks", "unfinished tasks", "none")]
    left = [order for order in orders if not order.is_held]
    near = [order for order in orders if order.ends_at - now < _NEAR]
    alone = [order for order in near if not order.is_held]
    if alone:
        found = f"{_count(alone, 'task')} near the end of the 24 hours, and nobody works on it: {_list(alone, now)}"
        remedy = "Run wan-mcp collect now: after that time the service forgets the images."
        return [Finding("tasks", "unfinished tasks", found, Verdict.PROBLEM, remedy)]
    if near:
        found = f"{_count(near, 'task')} near the end of the 24 hours: {_list(near, now)}"
        remedy = "A running wan-mcp works on it; see how far it is with wan-mcp tasks."
        return [Finding("tasks", "unfinished tasks", found, Verdict.NOTE, remedy)]
    if left:
        found = f"{_count(left, 'task')} that nobody works on: {_list(left, now)}"
        remedy = "Run wan-mcp collect, or start a server: it saves what is ready."
        return [Finding("tasks", "unfinished tasks", found, Verdict.NOTE, remedy)]
    return [Finding("tasks", "unfinished tasks", f"{len(orders)}, and a running wan-mcp works on them")]


def check_limit(images: int, limit: int) -> list[Finding]:
    """Compare the images ordered in the last 24 hours with the operator's limit."""
    looked_at = "images ordered in the last 24 hours"
    if limit == 0:
        return [Finding("limit", looked_at, f"{images}, and no limit is set")]
    found = f"{images} of {limit}"
    remedy = "Wait until orders are older than 24 hours, or raise WAN_MCP_DAILY_IMAGE_LIMIT."
    if images >= limit:
        return [Finding("limit", looked_at, f"{found}: no more can be ordered", Verdict.PROBLEM, remedy)]
    if images >= limit * _SELDOM_LEFT:
        return [Finding("limit", looked_at, found, Verdict.NOTE, remedy)]
    return [Finding("limit", looked_at, found)]


def _describe(facts: LedgerFacts, looked_at: str) -> Finding:
    age = f"version {facts.version}"
    if facts.version < facts.newest:
        age += f" of {facts.newest} (the next command brings it up to date)"
    state = "sound" if facts.is_checked else "too large to be looked through while it is in use"
    return Finding(_CHECK, looked_at, f"{age}, {state}, {_count_orders(facts.orders)}")


def _count_orders(orders: int) -> str:
    return "1 order" if orders == 1 else f"{orders} orders"


def _count(orders: list[OpenOrder], noun: str) -> str:
    return f"1 {noun}" if len(orders) == 1 else f"{len(orders)} {noun}s"


def _list(orders: list[OpenOrder], now: float) -> str:
    shown = [f"{order.id} ({_span(order.ends_at - now)})" for order in orders[:_SHOWN]]
    return ", ".join(shown) + (", and more" if len(orders) > _SHOWN else "")


def _span(seconds: float) -> str:
    if seconds <= 0:
        return "its time is over"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min left"
