"""The arithmetic of waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.dashscope import next_delay
from wan_mcp.dashscope.retries import read_date, read_retry_after


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_is_never_negative_and_never_over_the_cap(attempt, drawn):
    delay = next_delay(attempt, draw=lambda: drawn)
    assert 0.25 <= delay <= 30.0


def test_waits_double_up_to_the_cap():
    waits = [next_delay(attempt, base=1.0, cap=8.0, draw=lambda: 1.0) for attempt in range(1, 7)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_draw_spreads_the_waits_over_the_upper_half():
    assert next_delay(1, base=4.0, draw=lambda: 0.0) == 2.0
    assert next_delay(1, base=4.0, draw=lambda: 0.5) == 3.0


def test_what_the_service_asks_for_wins_when_it_is_longer():
    assert next_delay(1, retry_after=12.0, draw=lambda: 1.0) == 12.0
    assert next_delay(8, retry_after=0.1, draw=lambda: 1.0) == 30.0


def test_a_moment_already_over_asks_for_no_wait():
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now=1_800_000_000.0) == 0.0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 1445412480.0),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_a_date_is_read_or_left(text, moment):
    assert read_date(text) == moment
