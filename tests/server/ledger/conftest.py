"""A ledger in a real file or a real database, and a clock that stands still."""

import pytest

from fakes.clock import StillClock
from fakes.postgres import empty_tables, make_schema
from fakes.recording_database import RecordingDatabase, find_unportable
from wan_mcp.ledger import Ledger
from wan_mcp.ledger.backends.postgres import open_postgres_ledger
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


def pytest_generate_tests(metafunc):
    """Run the tests of a module on the back ends that it names; without a word of it they are about the file."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "databases" in metafunc.fixturenames and "databases" not in chosen:
        metafunc.parametrize("databases", getattr(metafunc.module, "BACK_ENDS", ("sqlite",)), indirect=True)


@pytest.fixture(scope="session")
def schema(postgres_server):
    """The address of a schema whose tables are made once."""
    return make_schema(postgres_server)


@pytest.fixture
def empty_postgres_url(schema):
    """The address of a schema with nothing in its tables."""
    empty_tables(schema)
    return schema


@pytest.fixture
def databases(request, path, clock):
    """The durable database of `ledger`, and the one that may be forgotten."""
    if request.param == "sqlite":
        opened = open_sqlite_ledger(path, clock)
    else:
        url = request.getfixturevalue("empty_postgres_url")
        opened = open_postgres_ledger(url, clock, busy_seconds=10, by_database_time=False)
    return [RecordingDatabase(database) for database in opened._databases]


@pytest.fixture
async def ledger(databases):
    """Whatever a test executes must be understood by PostgreSQL as well."""
    ledger = Ledger(*databases)
    yield ledger
    await ledger.close()
    executed = {each for database in databases for each in database.executed}
    assert {each[0]: found for each in executed if (found := find_unportable(*each))} == {}
