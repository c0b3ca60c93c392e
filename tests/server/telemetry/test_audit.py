"""The line of the log that says who has ordered what."""

import json
import logging
from dataclasses import replace

from opentelemetry.sdk.trace import TracerProvider

from fakes.orders import make_order
from wan_mcp.app import build_catalogue
from wan_mcp.ledger import Stage
from wan_mcp.settings import read_settings
from wan_mcp.telemetry.audit import LOGGER, make_audit
from wan_mcp_tools.domain.principals import Principal, Scope, acting_as


def lines(caplog):
    return [json.loads(record.message) for record in caplog.records if record.name == LOGGER]


def test_an_order_is_told_with_who_and_what_and_its_task_when_that_is_known_but_never_with_its_prompt(caplog):
    caplog.set_level(logging.INFO, LOGGER)
    audit = make_audit(build_catalogue(read_settings({"HOME": "/nowhere"})), find_tool=lambda: "generate_image")
    order = make_order(stage=Stage.SENDING, region="singapore", model="wan2.6-t2i")
    opened = replace(order, stage=Stage.OPEN, task_id="task-1")

    with (
        acting_as(Principal("ann", frozenset({Scope.ORDER}))),
        TracerProvider().get_tracer("t").start_as_current_span("x") as span,
    ):
        audit(None, order)
    audit(order, opened)
    audit(opened, replace(opened, stage=Stage.CLOSED))

    first, second = lines(caplog)
    assert first == {
        "event": "order",
        "order_id": order.local_id,
        "at": order.created_at,
        "principal": "ann",
        "tool": "generate_image",
        "model": "wan2.6-t2i",
        "region": "singapore",
        "n": order.images_ordered,
        "cost": {"USD": "0.03"},
        "trace_id": f"{span.get_span_context().trace_id:032x}",
    }
    assert second == {"event": "task", "order_id": order.local_id, "task_id": "task-1"}
    assert order.request.prompt not in caplog.text
