"""Where each client's file is, on each platform; nothing here looks at a disk but the last test."""

from pathlib import Path

import pytest

from wan_mcp.clients import CLIENTS, Client, Machine, find_client, find_config_path

MAC, LINUX, WINDOWS = "/Users/me", "/home/me", "C:\\Users\\me"
ROAMING = "C:\\Users\\me\\AppData\\Roaming"

CONFIG_PATHS = {
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
    "qwen": (f"{MAC}/.qwen/settings.json", f"{LINUX}/.qwen/settings.json", f"{WINDOWS}\\.qwen\\settings.json"),
    "opencode": (
        f"{MAC}/.config/opencode/opencode.json",
        f"{LINUX}/.config/opencode/opencode.json",
        f"{WINDOWS}\\.config\\opencode\\opencode.json",
    ),
    "zed": (
        f"{MAC}/.config/zed/settings.json",
        f"{LINUX}/.config/zed/settings.json",
        f"{ROAMING}\\Zed\\settings.json",
    ),
}


def paths_of(client_id: str, platform: str, home: str, environ: dict[str, str] | None = None) -> list[str]:
    return [str(each) for each in find_client(client_id).config_paths(Machine(platform, environ or {}, home))]


def test_every_client_has_its_paths_written_down_here() -> None:
    assert list(CONFIG_PATHS) == [client.id for client in CLIENTS]


@pytest.mark.parametrize(("client_id", "expected"), CONFIG_PATHS.items())
def test_each_platform_has_its_own_path(client_id: str, expected: tuple[str, str, str]) -> None:
    assert paths_of(client_id, "darwin", MAC)[-1] == expected[0]
    assert paths_of(client_id, "linux", LINUX)[-1] == expected[1]
    assert paths_of(client_id, "win32", WINDOWS)[-1] == expected[2]


@pytest.mark.parametrize(
    ("client_id", "platform", "variable", "folder", "expected"),
    [
        ("claude-code", "linux", "CLAUDE_CONFIG_DIR", "/x", "/x/.claude.json"),
        ("codex", "darwin", "CODEX_HOME", "/x", "/x/config.toml"),
        ("gemini", "linux", "GEMINI_CLI_HOME", "/x", "/x/.gemini/settings.json"),
        ("qwen", "linux", "QWEN_HOME", "/x", "/x/settings.json"),
        ("opencode", "darwin", "XDG_CONFIG_HOME", "/x", "/x/opencode/opencode.json"),
        ("zed", "linux", "XDG_CONFIG_HOME", "/x", "/x/zed/settings.json"),
        ("zed", "linux", "FLATPAK_XDG_CONFIG_HOME", "/f", "/f/zed/settings.json"),
        ("vscode", "linux", "XDG_CONFIG_HOME", "/x", "/x/Code/User/mcp.json"),
        ("vscode", "win32", "APPDATA", "D:\\Data", "D:\\Data\\Code\\User\\mcp.json"),
        ("claude-desktop", "darwin", "XDG_CONFIG_HOME", "/x", CONFIG_PATHS["claude-desktop"][0]),
        ("zed", "darwin", "XDG_CONFIG_HOME", "/x", CONFIG_PATHS["zed"][0]),
        ("codex", "linux", "CODEX_HOME", "  ", CONFIG_PATHS["codex"][1]),
    ],
)
def test_a_variable_moves_the_files_of_the_clients_that_read_it(
    client_id, platform, variable, folder, expected
) -> None:
    home = {"darwin": MAC, "linux": LINUX, "win32": WINDOWS}[platform]
    assert paths_of(client_id, platform, home, {variable: folder})[-1] == expected


def test_the_packaged_claude_desktop_of_windows_has_a_folder_of_its_own() -> None:
    first = paths_of("claude-desktop", "win32", WINDOWS)[0]
    assert first == (
        "C:\\Users\\me\\AppData\\Local\\Packages\\Claude_pzs8sxrjxfjjc\\LocalCache\\Roaming\\Claude"
        "\\claude_desktop_config.json"
    )


def test_opencode_keeps_the_file_with_comments_that_it_has(tmp_path: Path) -> None:
    client, machine = find_client("opencode"), Machine("linux", {}, str(tmp_path))
    folder = tmp_path / ".config" / "opencode"
    folder.mkdir(parents=True)
    assert find_config_path(client, machine) == folder / "opencode.json"
    (folder / "opencode.jsonc").touch()
    assert find_config_path(client, machine) == folder / "opencode.jsonc"


def test_of_several_paths_the_one_in_use_is_taken(tmp_path: Path) -> None:
    packaged, plain = tmp_path / "packaged" / "f.json", tmp_path / "plain" / "f.json"
    either = Client("x", "X", "JSON", ("mcpServers",), lambda _: (packaged, plain))
    machine = Machine("linux", {}, str(tmp_path))
    assert find_config_path(either, machine) == plain
    packaged.parent.mkdir()
    assert find_config_path(either, machine) == packaged
    plain.parent.mkdir()
    plain.touch()
    assert find_config_path(either, machine) == plain
    packaged.touch()
    assert find_config_path(either, machine) == packaged
