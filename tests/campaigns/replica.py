"""
A replica of a team's server with other times: `wan-mcp serve --transport http`, but for them.

    python tests/campaigns/replica.py PORT '{"lease": 1.5}'
"""

import json
import os
import sys

from wan_mcp.cli.serve import start_http
from wan_mcp.orders import Timings

if __name__ == "__main__":
    start_http(os.environ, "127.0.0.1", int(sys.argv[1]), timings=Timings(**json.loads(sys.argv[2])))
