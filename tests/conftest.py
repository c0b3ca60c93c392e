"""What every test gets: one event loop backend, and proof that our code never blocks it."""

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _the_loop_is_never_blocked():
    with blockbuster_ctx(scanned_modules=["wan_mcp", "wan_mcp_tools"]):
        yield
