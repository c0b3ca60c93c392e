"""What every test gets: one event loop backend, and proof that our code never blocks it."""

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

# On a busy machine any example may be slow. What a fixture gives to all examples of a test is never changed by them.
settings.register_profile(
    "suite",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _the_loop_is_never_blocked():
    with blockbuster_ctx(scanned_modules=["wan_mcp", "wan_mcp_tools"]) as guard:
        # Measuring coverage takes a lock of its own in whatever line it measures.
        guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data", "unlock_data"})
        yield
