"""Where each client's file is, on each platform; nothing here looks at a disk but the last test."""

from pathlib import Path

import pytest

from wan_mcp.hosts import HOSTS, World, find_host, locate

MAC, LINUX, WINDOWS = "/Users/me", "/home/me", "C:\\Users\\me"
ROAMING = "C:\\Users\\me\\AppData\\Roaming"

PLACES = {
    "claude-desktop": (
        f"{MAC}/Library/Application Support/Claude/claude_desktop_config.json",
        f"{LINUX}/.config/Claude/claude_desktop_config.json",
        f"{ROAMING}\\Claude\\claude_desktop_config.json",
    ),
    "claude-code": (f"{MAC}/.claude.json", f"{LINUX}/.claude.json", f"{WINDOWS}\\.claude.json"),
    "cursor": (f"{MAC}/.cursor/mcp.json", f"{LINUX}/.cursor/mcp.json", f"{WINDOWS}\\.cursor\\mcp.json"),
    "vscode": (
        f"{MAC}/Library/Application Support/Code/User/mcp.json",
        f"{LINUX}/.config/Code/User/mcp.json",
        f"{ROAMING}\\Code\\User\\mcp.json",
    ),
    "windsurf": (
        f"{MAC}/.codeium/windsurf/mcp_config.json",
        f"{LINUX}/.codeium/windsurf/mcp_config.json",
        f"{WINDOWS}\\.codeium\\windsurf\\mcp_config.json",
    ),
    "codex": (f"{MAC}/.codex/config.toml", f"{LINUX}/.codex/config.toml", f"{WINDOWS}\\.codex\\config.toml"),
    "gemini": (
        f"{MAC}/.gemini/settings.json",
        f"{LINUX}/.gemini/settings.json",
        f"{WINDOWS}\\.gemini\\settings.json",
    ),
    "zed": (
        f"{MAC}/.config/zed/settings.json",
        f"{LINUX}/.config/zed/settings.json",
        f"{ROAMING}\\Zed\\settings.json",
    ),
}


def places_of(host_id: str, platform: str, home: str, environ: dict[str, str] | None = None) -> list[str]:
    return [str(each) for each in find_host(host_id).places(World(platform, environ or {}, home))]


def test_every_client_has_its_places_written_down_here() -> None:
    assert list(PLACES) == [host.id for host in HOSTS]


@pytest.mark.parametrize(("host_id", "expected"), PLACES.items())
def test_each_platform_has_its_own_place(host_id: str, expected: tuple[str, str, str]) -> None:
    assert places_of(host_id, "darwin", MAC)[-1] == expected[0]
    assert places_of(host_id, "linux", LINUX)[-1] == expected[1]
    assert places_of(host_id, "win32", WINDOWS)[-1] == expected[2]


@pytest.mark.parametrize(
    ("host_id", "platform", "variable", "folder", "expected"),
    [
        ("claude-code", "linux", "CLAUDE_CONFIG_DIR", "/x", "/x/.claude.json"),
        ("codex", "darwin", "CODEX_HOME", "/x", "/x/config.toml"),
        ("gemini", "linux", "GEMINI_CLI_HOME", "/x", "/x/.gemini/settings.json"),
        ("zed", "linux", "XDG_CONFIG_HOME", "/x", "/x/zed/settings.json"),
        ("zed", "linux", "FLATPAK_XDG_CONFIG_HOME", "/f", "/f/zed/settings.json"),
        ("vscode", "linux", "XDG_CONFIG_HOME", "/x", "/x/Code/User/mcp.json"),
        ("vscode", "win32", "APPDATA", "D:\\Data", "D:\\Data\\Code\\User\\mcp.json"),
        ("claude-desktop", "darwin", "XDG_CONFIG_HOME", "/x", PLACES["claude-desktop"][0]),
        ("zed", "darwin", "XDG_CONFIG_HOME", "/x", PLACES["zed"][0]),
        ("codex", "linux", "CODEX_HOME", "  ", PLACES["codex"][1]),
    ],
)
def test_a_variable_moves_the_files_of_the_clients_that_read_it(
    host_id, platform, variable, folder, expected
) -> None:
    home = {"darwin": MAC, "linux": LINUX, "win32": WINDOWS}[platform]
    assert places_of(host_id, platform, home, {variable: folder})[-1] == expected


def test_the_packaged_claude_desktop_of_windows_has_a_folder_of_its_own() -> None:
    first = places_of("claude-desktop", "win32", WINDOWS)[0]
    assert first == (
        "C:\\Users\\me\\AppData\\Local\\Packages\\Claude_pzs8sxrjxfjjc\\LocalCache\\Roaming\\Claude"
        "\\claude_desktop_config.json"
    )


def test_of_several_places_the_one_in_use_is_taken(tmp_path: Path) -> None:
    packaged, plain = tmp_path / "packaged" / "f.json", tmp_path / "plain" / "f.json"
    host = find_host("claude-desktop")
    either = type(host)("x", "X", host.format, host.servers, lambda _: (packaged, plain))
    world = World("linux", {}, str(tmp_path))
    assert locate(either, world) == plain
    packaged.parent.mkdir()
    assert locate(either, world) == packaged
    plain.parent.mkdir()
    plain.touch()
    assert locate(either, world) == plain
    packaged.touch()
    assert locate(either, world) == packaged
