"""A ledger in a real file, and a clock that stands still."""

import pytest

from fakes.clock import FakeClock
from wan_mcp.ledger import SqliteLedger


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
async def ledger(path, clock):
    ledger = SqliteLedger(path, clock)
    yield ledger
    await ledger.close()
