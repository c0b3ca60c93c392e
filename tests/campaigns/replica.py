"""
A replica of a team's server with other times: `wan-mcp serve --transport http`, but for them.

Its arguments are a port and the times, `{"lease": 1.5}`; it is started by forking.
"""

import json
import os
import sys

# A server imports these as it starts; here that is done before it is forked.
import wan_mcp.http_app
import wan_mcp.mcp_server.http
import wan_mcp.storage.s3  # noqa: F401
from wan_mcp.cli.serve import start_http
from wan_mcp.orders import Timings


def main():
    """Run one replica."""
    start_http(os.environ, "127.0.0.1", int(sys.argv[1]), timings=Timings(**json.loads(sys.argv[2])))
