"""The look-alike service as a process of its own, which no kill of a worker touches."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_PROGRAM = Path(__file__).resolve().parents[1] / "fakes" / "dashscope_service.py"
_PATIENCE = 20.0


class Upstream:
    """One account at one service; ends with the `with` block, or with this process."""

    def __init__(self, *, seed: int, options: Mapping[str, Any], script: Mapping[str, Any]) -> None:
        self._command = [sys.executable, str(_PROGRAM), "--end-with-stdin", "--seed", str(seed)]
        self._command += ["--options", json.dumps(options), "--script", json.dumps(script)]
        # The proxies of the environment lead away from this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.base_url = self.image_host = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self._process.stdout.readline())
        self.base_url, self.image_host = ready["base_url"], ready["image_host"]
        self._admin = self.base_url.removesuffix("/api/v1") + "/_admin"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_PATIENCE)

    def state(self) -> dict[str, Any]:
        """Give everything that happened, but for the log of requests."""
        with self._opener.open(f"{self._admin}/state?requests=0", timeout=_PATIENCE) as reply:
            return json.load(reply)

    def script(self, **orders: Any) -> None:
        """Change what it does."""
        with self._opener.open(f"{self._admin}/script", json.dumps(orders).encode(), timeout=_PATIENCE):
            pass
