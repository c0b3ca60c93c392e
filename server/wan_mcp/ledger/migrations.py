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

MIGRATIONS: Mapping[int, tuple[str, ...]] = {
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
        "UPDATE orders SET search_text = searchable(request)",
    ),
}
"""Every step by its number; a file records the number of the last step applied to it."""

VOLATILE_MIGRATIONS: Mapping[int, tuple[str, ...]] = {1: (LIMITS,)}
"""The same for the file of what may be forgotten in a power cut."""
