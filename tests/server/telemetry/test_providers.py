"""Metrics and traces of a real server: asked for, exported, and where the packages are missing."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from fakes.clock import LONGEST, wait_until
from fakes.stdio_client import environment

WITHOUT = "import sys; sys.modules['opentelemetry.sdk'] = None; from wan_mcp.__main__ import main; main()"
"""A program in which the packages of a team's server seem not to be installed."""

SMALL = {"model": "wan2.2-t2i-flash", "size": "512*512"}

_opener = build_opener(ProxyHandler({}))


@contextmanager
def serving(folder, *options, program=("-m", "wan_mcp"), **environ):
    with subprocess.Popen(
        [sys.executable, *program, "serve", "--transport", "http", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, **environ),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_address(process, words):
    """Read stderr until a line with these words, and give the address behind them."""
    for line in process.stderr:
        if words in line:
            return line.split(words)[1].split()[0]
    raise AssertionError("the server ended")


def order(url):
    params = {"name": "generate_image", "arguments": {"prompt": "a fox"} | SMALL}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with _opener.open(Request(url, json.dumps(body).encode(), headers), timeout=LONGEST) as answer:
        assert b"SUCCEEDED" in answer.read()


def read_metrics(url):
    with _opener.open(url, timeout=LONGEST) as answer:
        lines = answer.read().decode().splitlines()
    return {line.split("{")[0]: float(line.split()[-1]) for line in lines if line.startswith(("wan_", "mcp_"))}


def status(url):
    with pytest.raises(HTTPError) as raised:
        _opener.open(url, timeout=LONGEST)
    with raised.value as answer:
        return answer.code


def test_a_port_for_metrics_without_their_packages_is_refused_in_words(tmp_path):
    with serving(tmp_path, "--metrics-port", "0", program=("-c", WITHOUT)) as process:
        told = process.stderr.read()
        assert process.wait(LONGEST) == 2
    assert told.endswith(
        "wan-mcp: --metrics-port needs packages that are not installed. Install them: pip install 'wan-mcp[server]'.\n"
    )
    assert "Traceback" not in told


def test_where_nothing_can_be_exported_the_server_says_so_and_serves(tmp_path):
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with serving(tmp_path, program=("-c", WITHOUT), **where) as process:
        warning = process.stderr.readline()
        order(read_address(process, "serves at "))
    assert "Metrics and traces need packages that are not installed." in warning


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_metrics_are_shown_at_a_port_of_their_own_and_go_with_traces_where_the_standard_variables_say(tmp_path):
    received = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received[self.path] = received.get(self.path, b"") + body
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        # Its end waits for the answers under way, so that no connection is left to the collector of garbage.
        daemon_threads = False

    with Server(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, args=(0.02,), daemon=True).start()
        where = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "NO_PROXY": "127.0.0.1",
        }
        with serving(tmp_path, "--metrics-port", "0", **where) as process:
            metrics_url = read_address(process, "metrics at ")
            url = read_address(process, "serves at ")
            order(url)
            wait_until(lambda: read_metrics(metrics_url).get("wan_orders_total") == 1)
            found = read_metrics(metrics_url)
            # Nothing else is there, and they are nowhere else.
            statuses = [status(metrics_url.replace("/metrics", "/readyz")), status(url.replace("/mcp", "/metrics"))]

            wait_until(lambda: b"wan.orders.placed" in received.get("/v1/metrics", b""))
            wait_until(lambda: b"tools/call generate_image" in received.get("/v1/traces", b""))
            wait_until(lambda: b"mcp.server.operation.duration" in received["/v1/metrics"])
            process.send_signal(signal.SIGTERM)
            process.wait(LONGEST)
        collector.shutdown()

    assert found["wan_orders_placed_total"] == found["wan_images_saved_total"] == 1
    assert found["mcp_server_operation_duration_seconds_count"] == 1
    assert {"wan_orders_open", "wan_orders_leased", "wan_images_oldest_unsaved_age_seconds"} <= set(found)
    assert statuses == [404, 404]
