"""An environment for the doctor: a machine of its own, and a network on which the service's hosts answer."""

from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from fakes.clock import FakeClock
from wan_mcp.doctor import Environment, Finding, Verdict, run_checks

HOSTS = {
    "dashscope-intl.aliyuncs.com": "singapore",
    "dashscope.aliyuncs.com": "beijing",
    "dashscope-us.aliyuncs.com": "virginia",
    "cn-hongkong.dashscope.aliyuncs.com": "hongkong",
}
KEY = "sk-0123456789abcdef0123456789abcdef"


@dataclass
class Service:
    """The service in all regions: `keys` are {host: key}, `models` what is listed for a key, `clock` the time there."""

    clock: FakeClock
    keys: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    dead: set[str] = field(default_factory=set)
    offset: float = 0.0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        host, key = request.url.host, request.headers.get("authorization", "").removeprefix("Bearer ") or None
        self.asked.append((host, request.url.path, key))
        assert request.method == "GET"
        if host in self.dead:
            raise httpx.ConnectError("no way there", request=request)
        headers = {"Date": formatdate(self.clock.now() + self.offset, usegmt=True)}
        if key is None or self.keys.get(host) != key:
            said = {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r"}
            return httpx.Response(401, json=said, headers=headers)
        if request.url.path == "/compatible-mode/v1/models" and self.models:
            return httpx.Response(200, json={"data": [{"id": name} for name in self.models]}, headers=headers)
        if "/tasks/" in request.url.path:
            output = {"task_id": "0", "task_status": "UNKNOWN"}
            return httpx.Response(200, json={"request_id": "r", "output": output}, headers=headers)
        return httpx.Response(404, json={"code": "NotFound", "message": "no", "request_id": "r"}, headers=headers)

    @property
    def hosts_with_key(self) -> set[str]:
        """Where a key was shown."""
        return {host for host, _, key in self.asked if key is not None}


@dataclass
class Doctor:
    """Makes environments under one folder, and runs the checks in them."""

    folder: Path
    clock: FakeClock
    service: Service

    def environment(self, *, service: bool = True, parts: dict | None = None, **environ: str) -> Environment:
        """
        Give an environment; `parts` take the place of its fields.

        Without `service` the network is the real one, of which only the loopback is met. The sandbox needs none.
        """
        service = service and environ.get("DASHSCOPE_REGION") != "sandbox"
        where = {"WAN_MCP_OUTPUT_DIR": str(self.folder / "pictures"), "WAN_MCP_STATE_DIR": str(self.folder / "state")}
        usual = {
            "environ": {**where, **environ},
            "clock": self.clock,
            "program": "/opt/wan/bin/wan-mcp",
            "find_program": lambda name: None,
            "find_network_drive": lambda folder: None,
            "find_proxy": lambda scheme, host, port: None,
        }
        if service:
            usual |= {"transport": httpx.MockTransport(self.service), "resolve_name": None}
        return Environment(**(usual | (parts or {})))

    async def run(self, **options) -> "Report":
        return Report(await run_checks(self.environment(**options)))


@dataclass
class Report:
    findings: list[Finding]

    def of(self, check: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.check == check]

    def one(self, check: str) -> Finding:
        (finding,) = self.of(check)
        return finding

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is Verdict.PROBLEM]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is Verdict.NOTE]

    @property
    def text(self) -> str:
        return repr(self.findings)

    def problem_of(self, check: str) -> Finding:
        (finding,) = [finding for finding in self.problems if finding.check == check]
        return finding


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def service(clock):
    return Service(clock)


@pytest.fixture
def doctor(tmp_path, clock, service):
    return Doctor(tmp_path, clock, service)
