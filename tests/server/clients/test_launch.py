"""How this wan-mcp is started again, for each way of installing it."""

from dataclasses import replace
from pathlib import Path

from wan_mcp.clients.launch import (
    LaunchCommand,
    RunningProgram,
    describe_this_process,
    find_launch_command,
    parse_install_source,
)


def installed(tmp_path: Path, name: str = "wan-mcp") -> RunningProgram:
    scripts = tmp_path / "venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / name).touch()
    return RunningProgram(
        argv0=str(scripts / name),
        executable=str(scripts / "python"),
        prefix=str(tmp_path / "venv"),
        scripts=str(scripts),
        windows=False,
    )


def test_the_command_that_was_called_is_the_command(tmp_path: Path) -> None:
    running = installed(tmp_path)
    assert find_launch_command(running, {}) == LaunchCommand(running.argv0)


def test_a_command_called_by_a_short_path_is_written_in_full(tmp_path: Path, monkeypatch) -> None:
    running = installed(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_launch_command(replace(running, argv0="venv/bin/wan-mcp"), {}) == LaunchCommand(running.argv0)


def test_a_module_call_finds_the_command_beside_its_interpreter(tmp_path: Path) -> None:
    running = installed(tmp_path)
    assert find_launch_command(replace(running, argv0="/x/wan_mcp/__main__.py"), {}) == LaunchCommand(running.argv0)


def test_without_a_command_the_interpreter_runs_the_module(tmp_path: Path) -> None:
    running = replace(installed(tmp_path), argv0="/x/__main__.py", scripts=str(tmp_path))
    assert find_launch_command(running, {}) == LaunchCommand(running.executable, ("-m", "wan_mcp"))


def test_windows_names_its_programs_in_full(tmp_path: Path) -> None:
    running = replace(installed(tmp_path, "wan-mcp.exe"), windows=True)
    called = running.argv0.removesuffix(".exe")
    assert find_launch_command(replace(running, argv0=called), {}) == LaunchCommand(running.argv0)


def test_an_environment_of_uvx_is_made_again_by_uvx(tmp_path: Path) -> None:
    prefix = "/home/me/.cache/uv/archive-v0/abc"
    running = replace(installed(tmp_path), prefix=prefix)
    uvx = tmp_path / "uvx"
    uvx.touch(mode=0o755)
    assert find_launch_command(running, {"PATH": str(tmp_path)}) == LaunchCommand(str(uvx), ("wan-mcp",))
    assert find_launch_command(running, {}) == LaunchCommand("uvx", ("wan-mcp",))
    from_git = replace(running, install_source="git+https://example.com/wan-mcp@main")
    assert find_launch_command(from_git, {}).args == ("--from", "git+https://example.com/wan-mcp@main", "wan-mcp")


def test_an_environment_of_pipx_run_is_made_again_by_pipx(tmp_path: Path) -> None:
    running = replace(installed(tmp_path), prefix="/home/me/.local/pipx/.cache/abc")
    assert find_launch_command(running, {}) == LaunchCommand("pipx", ("run", "wan-mcp"))
    kept = replace(running, prefix="/home/me/.local/share/pipx/venvs/wan-mcp")
    assert find_launch_command(kept, {}) == LaunchCommand(running.argv0)


def test_a_tool_that_uv_installed_is_called_directly(tmp_path: Path) -> None:
    running = replace(installed(tmp_path), prefix="/home/me/.local/share/uv/tools/wan-mcp")
    assert find_launch_command(running, {}) == LaunchCommand(running.argv0)


def test_this_process_can_be_started_again() -> None:
    launch = find_launch_command(describe_this_process(), {})
    assert Path(launch.command).is_file()


def test_where_it_came_from_is_read_as_installers_write_it() -> None:
    assert parse_install_source(None) is None
    assert parse_install_source('{"url": "file:///src/wan-mcp", "dir_info": {}}') == "file:///src/wan-mcp"
    git = '{"url": "https://h/x.git", "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "ab"}}'
    assert parse_install_source(git) == "git+https://h/x.git@v1"
    assert parse_install_source('{"url": "https://h/x.git", "vcs_info": {"vcs": "git"}}') == "git+https://h/x.git"
