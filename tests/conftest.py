"""What every test gets: one event loop backend, and proof that our code never blocks it."""

import gc
import os
import sys

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from fakes import postgres, s3

# Hundreds of programs are started: what they are made of is compiled once, not each time, whatever the machine says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is imported and collected stays to the end: it is no garbage, and need not be looked through for any.
gc.disable()

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


@pytest.fixture(autouse=True, scope="module")
def _the_loop_is_never_blocked(request):
    if getattr(request.module, "IS_SIMULATED", False):
        # One thread does everything, so that time moves when nothing is left to do.
        yield
        return
    with blockbuster_ctx(scanned_modules=["wan_mcp", "wan_mcp_tools"]) as guard:
        if sys.gettrace() is not None:
            # Measuring coverage takes a lock of its own in whatever line it measures.
            guard.functions["threading.Lock.acquire"].deactivate()
        yield


@pytest.fixture(scope="session")
def postgres_server():
    """The address of a real PostgreSQL database."""
    return postgres.start_server(postgres.choose_folder())


@pytest.fixture
def postgres_url(postgres_server):
    """The address of an empty schema in it."""
    return postgres.make_schema(postgres_server)


@pytest.fixture(scope="session")
def s3_server():
    """The address of a real object store."""
    return s3.start_server(s3.choose_folder())


@pytest.fixture
def bucket(s3_server):
    """An empty bucket in it."""
    return s3.make_bucket(s3_server)


def pytest_configure():
    """Say where the servers of this run lie before the processes that share them are started."""
    postgres.choose_folder()
    s3.choose_folder()


def pytest_collection_finish():
    """Begin to look for garbage, among what the tests themselves make."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session):
    """Stop them when all processes have ended."""
    if not hasattr(session.config, "workerinput"):
        postgres.stop_server(postgres.choose_folder())
        s3.stop_server(s3.choose_folder())
