"""A PostgreSQL ledger with many closed orders, written past the ledger's own methods, which are too slow for it."""

import json

import psycopg

from wan_mcp_tools.domain.requests import ImageRequest

MODEL, REGION = "wan2.6-t2i", "singapore"
_REQUEST = json.dumps(
    ImageRequest(model=MODEL, region=REGION, prompt="a flower shop", size="1280*1280", n=1).to_dict(), sort_keys=True
)
_ORDERS = f"""
    INSERT INTO orders (local_id, task_id, origin, region, account, model, wire_model, protocol, request, fingerprint,
        images_ordered, folder, stage, status, created_at, sent_at, accepted_at, finished_at, expires_at, duration,
        delivered_at, search_text, principal, counted, counted_images,
        cost, currency)
    SELECT 'local-' || lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(n), 24, '0'),
        lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'),
        'ordered', CASE n % 5 WHEN 3 THEN 'beijing' ELSE '{REGION}' END, 'account',
        CASE n % 4 WHEN 3 THEN 'wan2.7-image' ELSE '{MODEL}' END, '{MODEL}', 'async', $1, 'request ' || n, 1,
        '/pictures', 'CLOSED', CASE n % 50 WHEN 7 THEN 'FAILED' ELSE 'SUCCEEDED' END,
        $2 - 600 - n * $4::float8, $2 - 600 - n * $4::float8, $2 - 599 - n * $4::float8, $2 - 580 - n * $4::float8,
        $2 + 85800 - n * $4::float8, CASE n % 50 WHEN 7 THEN NULL ELSE 20.0 + n % 7 END, $2 - 579 - n * $4::float8,
        'a flower shop', CASE n % 100 WHEN 1 THEN 'ada' ELSE 'local' END,
        CASE n % 50 WHEN 7 THEN 'FAILED' ELSE 'SUCCEEDED' END, CASE n % 50 WHEN 7 THEN 0 ELSE 1 END,
        1, 'USD'
    FROM generate_series(0::bigint, $3 - 1) AS n
"""
_IMAGES = """
    INSERT INTO images (local_id, "index", state, path, width, height, bytes, sha256)
    SELECT local_id, 1, 'SAVED', '/pictures/20261122-a-flower-shop-' || local_id || '-1.png', 1280, 1280, 2345678,
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    FROM orders WHERE status = 'SUCCEEDED'
"""
_TOTALS = """
    INSERT INTO totals (region, model, status, orders, images)
    SELECT region, model, counted, COUNT(*), SUM(counted_images) FROM orders GROUP BY region, model, counted
"""


def fill_database(url: str, count: int, *, now: float, apart: float = 90.0) -> None:
    """Write `count` orders `apart` seconds apart into tables that are there, most of them with a saved image."""
    with psycopg.connect(url, autocommit=True) as connection:
        psycopg.RawCursor(connection).execute(_ORDERS.encode(), [_REQUEST, now, count, apart])
        connection.execute(_IMAGES.encode())
        connection.execute(_TOTALS.encode())
        # As the server does by itself after a while.
        connection.execute(b"VACUUM ANALYZE orders, images, totals")
