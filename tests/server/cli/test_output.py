"""How a command ends when something goes wrong: one sentence on stderr, and an exit code."""

from click.testing import CliRunner

from fakes.little_service import LittleService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp_tools.domain.errors import MissingKeyError, ServiceDownError


def run(service: LittleService, *arguments: str, environ: dict[str, str] | None = None):
    return CliRunner().invoke(cli, arguments, obj=CommandContext(environ or {}, service.open, service.clock))


def last_line(done) -> str:
    return done.stderr.splitlines()[-1]


class RefusingService(LittleService):
    """Answers each order with an error, alone or wrapped as a task group wraps it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def order(self, request, **_):
        raise self.error


def test_a_missing_key_is_a_wrong_setting() -> None:
    error = MissingKeyError("There is no key for Singapore.", "Set DASHSCOPE_API_KEY.")
    done = run(RefusingService(error), "generate", "x")
    assert (done.exit_code, last_line(done)) == (2, "wan-mcp: There is no key for Singapore. Set DASHSCOPE_API_KEY.")


def test_an_error_of_the_service_is_failed_work_even_inside_a_group() -> None:
    group = ExceptionGroup("unhandled", [ExceptionGroup("more", [ServiceDownError("It is down.", "Wait.")])])
    done = run(RefusingService(group), "generate", "x")
    assert (done.exit_code, last_line(done)) == (1, "wan-mcp: It is down. Wait.")


def test_an_error_that_is_not_ours_is_not_hidden() -> None:
    done = run(RefusingService(ExceptionGroup("mixed", [ServiceDownError("down"), KeyError("bug")])), "generate", "x")
    assert isinstance(done.exception, ExceptionGroup)


def test_a_key_in_a_message_is_not_printed() -> None:
    error = ServiceDownError("It said: key sk-0123456789abcdef is odd.\x1b[2J")
    done = run(RefusingService(error), "generate", "x")
    assert last_line(done) == "wan-mcp: It said: key sk-*** is odd. [2J"
    assert "\x1b" not in done.stderr


def test_several_wrong_settings_are_a_list_with_a_line_for_each() -> None:
    environ = {"WAN_MCP_PROTOCOL": "smoke", "WAN_MCP_WAIT_SECONDS": "soon", "DASHSCOPE_REGION": "mars"}
    done = run(LittleService(), "tasks", environ=environ)
    lines = done.stderr.splitlines()

    assert done.exit_code == 2
    assert lines[0] == "wan-mcp: 3 things are wrong."
    assert all(line.startswith("  - ") for line in lines[1:4])
    assert lines[4] == "Correct the environment or the settings file."
    assert len(lines) == 5


def test_several_bad_lines_of_a_settings_file_are_a_list_too(tmp_path) -> None:
    path = tmp_path / "settings"
    path.write_text("this is no line\nWAN_MCP_MODEL=x\n='y'\n")
    done = run(LittleService(), "tasks", "--env-file", str(path))

    assert [line[:4] for line in done.stderr.splitlines()[1:3]] == ["  - ", "  - "]
