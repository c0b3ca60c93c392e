"""
The steps from an empty file to today's tables: numbered, additive, never edited once released.

Additive, so that a window of an older release keeps working beside a newer one: a new column has a default, and an
old column gets no new words.
"""

from collections.abc import Mapping

LIMITS = """
CREATE TABLE limits (
    name TEXT PRIMARY KEY,
    next_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0
) WITHOUT ROWID
"""

LISTINGS = "CREATE TABLE listings (region TEXT PRIMARY KEY, kept_at REAL NOT NULL, tasks TEXT NOT NULL)"

_SHARED: Mapping[int, tuple[str, ...]] = {
    1: (
        """
        CREATE TABLE orders (
            local_id TEXT PRIMARY KEY,
            task_id TEXT UNIQUE,
            origin TEXT NOT NULL,
            region TEXT NOT NULL,
            account TEXT NOT NULL,
            model TEXT,
            wire_model TEXT,
            protocol TEXT,
            request TEXT,
            fingerprint TEXT,
            images_ordered INTEGER NOT NULL,
            folder TEXT,
            stage TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at REAL NOT NULL,
            sent_at REAL,
            clock_offset REAL,
            lost_at REAL,
            accepted_at REAL,
            finished_at REAL,
            expires_at REAL,
            duration REAL,
            owner TEXT,
            lease_until REAL NOT NULL DEFAULT 0,
            version INTEGER NOT NULL DEFAULT 0,
            request_id TEXT,
            actual_prompt TEXT,
            error_code TEXT,
            error_message TEXT,
            notes TEXT NOT NULL DEFAULT '[]',
            wanted_until REAL NOT NULL DEFAULT 0,
            wanted_by TEXT,
            delivered_at REAL
        )
        """,
        "CREATE INDEX orders_open ON orders (lease_until) WHERE stage <> 'CLOSED'",
        "CREATE INDEX orders_recent ON orders (created_at, local_id)",
        "CREATE INDEX orders_alike ON orders (fingerprint, created_at)",
        """
        CREATE TABLE images (
            local_id TEXT NOT NULL REFERENCES orders (local_id),
            "index" INTEGER NOT NULL,
            state TEXT NOT NULL,
            url TEXT,
            path TEXT,
            width INTEGER,
            height INTEGER,
            bytes INTEGER,
            sha256 TEXT,
            code TEXT,
            message TEXT,
            PRIMARY KEY (local_id, "index")
        ) WITHOUT ROWID
        """,
        # A rate limit as one number: the time at which the next request would be exactly on schedule.
        LIMITS,
        "CREATE TABLE slots (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID",
    ),
    2: (
        # The prompt in small letters of any script: the database's own comparison knows the English ones only.
        "ALTER TABLE orders ADD COLUMN search_text TEXT",
    ),
    3: (
        # How many orders and saved images are closed, by what they are chosen by. An order says for itself as what it
        # stands in here. Where it is not that any more, whichever release has changed it, an index has it, and it is
        # counted by itself until it is moved.
        """
        CREATE TABLE totals (
            region TEXT NOT NULL,
            model TEXT NOT NULL,
            status TEXT NOT NULL,
            orders INTEGER NOT NULL,
            images INTEGER NOT NULL,
            PRIMARY KEY (region, model, status)
        ) WITHOUT ROWID
        """,
        "ALTER TABLE orders ADD COLUMN counted TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE orders ADD COLUMN counted_images INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN counted_version INTEGER NOT NULL DEFAULT 0",
        """
        UPDATE orders SET counted = status, counted_version = version, counted_images = (
            SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id AND state = 'SAVED'
        ) WHERE stage = 'CLOSED' AND origin = 'ordered'
        """,
        """
        INSERT INTO totals (region, model, status, orders, images)
        SELECT region, COALESCE(model, ''), counted, COUNT(*), SUM(counted_images) FROM orders
        WHERE counted <> '' GROUP BY region, COALESCE(model, ''), counted
        """,
        """
        CREATE INDEX orders_uncounted ON orders (created_at, local_id)
        WHERE (counted <> status OR counted_version <> version OR stage <> 'CLOSED')
        """,
        # One expression, not several with OR: of these SQLite would read each by an index of its own, and sort.
        """
        CREATE INDEX orders_failed ON orders (created_at, local_id) WHERE CASE
        WHEN status IN ('FAILED', 'EXPIRED', 'UNKNOWN') THEN 1
        WHEN status = 'SUBMIT_UNKNOWN' AND stage = 'CLOSED' THEN 1 ELSE 0 END = 1
        """,
        "CREATE INDEX orders_status ON orders (status, created_at, local_id)",
        "CREATE INDEX orders_model ON orders (model, created_at, local_id)",
        "CREATE INDEX orders_region ON orders (region, created_at, local_id)",
        """
        CREATE INDEX orders_duration ON orders (region, model, images_ordered, created_at, local_id, duration)
        WHERE duration IS NOT NULL
        """,
    ),
    4: (
        # Whose order it is. All that was ordered before anybody could sign in is the local user's.
        "ALTER TABLE orders ADD COLUMN principal TEXT NOT NULL DEFAULT 'local'",
        "ALTER TABLE orders ADD COLUMN cost INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN currency TEXT",
        "CREATE INDEX orders_principal ON orders (principal, created_at, local_id)",
    ),
    5: (
        # The orders of `orders_uncounted`, as one expression: PostgreSQL takes columns to differ in nearly every row,
        # and read them all in the place of that index.
        """
        CREATE INDEX orders_unsettled ON orders (created_at, local_id) WHERE CASE
        WHEN counted <> status OR counted_version <> version OR stage <> 'CLOSED' THEN 1 ELSE 0 END = 1
        """,
    ),
    6: (
        # What people have uploaded to order with. A row is there before the bytes are, and goes after them.
        """
        CREATE TABLE uploads (
            id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            path TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL NOT NULL,
            is_stored INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX uploads_principal ON uploads (principal, created_at)",
        "CREATE INDEX uploads_over ON uploads (expires_at)",
    ),
    # What was read of the service's lists; beside the file of orders it lies in that of what may be forgotten.
    7: (),
}
# Rows from before the second step are in files alone.
_SQLITE: Mapping[int, tuple[str, ...]] = {2: ("UPDATE orders SET search_text = searchable(request)",)}
# SQLite compares by bytes everywhere, and has an index of these already.
_POSTGRES: Mapping[int, tuple[str, ...]] = {
    3: ('CREATE INDEX orders_task ON orders (task_id COLLATE "C")',),
    7: (LISTINGS,),
}


def _extend(own: Mapping[int, tuple[str, ...]]) -> Mapping[int, tuple[str, ...]]:
    return {number: (*steps, *own.get(number, ())) for number, steps in _SHARED.items()}


MIGRATIONS = _extend(_SQLITE)
"""Every step by its number, for the file; it records the number of the last step applied to it."""

POSTGRES_MIGRATIONS = _extend(_POSTGRES)
"""The same for PostgreSQL, with the types as the file has them."""

VOLATILE_MIGRATIONS: Mapping[int, tuple[str, ...]] = {1: (LIMITS,), 2: (LISTINGS,)}
"""The same for the file of what may be forgotten in a power cut."""
