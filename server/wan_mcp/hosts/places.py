"""
Where clients keep their configuration, as pure functions of the platform, the environment and the home folder.

Each gives the candidates, the likeliest first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath


@dataclass(frozen=True, slots=True)
class World:
    """What a place depends on; `platform` is as in `sys.platform`: win32, darwin, linux."""

    platform: str
    environ: Mapping[str, str]
    home: str

    @property
    def inside_windows(self) -> bool:
        """Whether this is a Linux that runs inside Windows: https://learn.microsoft.com/windows/wsl/."""
        return self.platform == "linux" and bool(self.environ.get("WSL_DISTRO_NAME"))

    def path(self, text: str) -> PurePath:
        """Give a path in the manner of the platform."""
        return PureWindowsPath(text) if self.platform == "win32" else PurePosixPath(text)

    def folder(self, variable: str, *otherwise: str) -> PurePath:
        """Give the folder that a variable names, or the one below the home folder."""
        named = self.environ.get(variable, "").strip()
        return self.path(named) if named else self.path(self.home).joinpath(*otherwise)

    def app_data(self) -> PurePath:
        """Give the folder of desktop programs' settings."""
        if self.platform == "win32":
            return self.folder("APPDATA", "AppData", "Roaming")
        if self.platform == "darwin":
            return self.path(self.home) / "Library" / "Application Support"
        return self.folder("XDG_CONFIG_HOME", ".config")


Places = Callable[[World], tuple[PurePath, ...]]


def claude_desktop(world: World) -> tuple[PurePath, ...]:
    """
    Find the file of Claude Desktop.

    Sources: https://modelcontextprotocol.io/docs/develop/connect-local-servers and, for the packaged program on
    Windows, whose %APPDATA% is redirected, https://github.com/anthropics/claude-code/issues/26073
    """
    name = "claude_desktop_config.json"
    plain = world.app_data() / "Claude" / name
    if world.platform != "win32":
        return (plain,)
    local = world.folder("LOCALAPPDATA", "AppData", "Local")
    return (local / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming" / "Claude" / name, plain)


def claude_code(world: World) -> tuple[PurePath, ...]:
    """Find the file of Claude Code's user scope; source: https://code.claude.com/docs/en/mcp#mcp-installation-scopes."""
    return (world.folder("CLAUDE_CONFIG_DIR") / ".claude.json",)


def cursor(world: World) -> tuple[PurePath, ...]:
    """Find the global file of Cursor; source: https://cursor.com/docs/mcp."""
    return (world.path(world.home) / ".cursor" / "mcp.json",)


def vscode(world: World) -> tuple[PurePath, ...]:
    """
    Find the file of VS Code's default profile.

    Source: https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
    """
    return (world.app_data() / "Code" / "User" / "mcp.json",)


def windsurf(world: World) -> tuple[PurePath, ...]:
    """Find the file of Windsurf, now Devin Desktop; source: https://docs.devin.ai/desktop/cascade/mcp."""
    return (world.path(world.home) / ".codeium" / "windsurf" / "mcp_config.json",)


def codex(world: World) -> tuple[PurePath, ...]:
    """Find the file of Codex; source: https://developers.openai.com/codex/mcp."""
    return (world.folder("CODEX_HOME", ".codex") / "config.toml",)


def gemini(world: World) -> tuple[PurePath, ...]:
    """Find the user settings of Gemini CLI; source: https://geminicli.com/docs/tools/mcp-server."""
    return (world.folder("GEMINI_CLI_HOME") / ".gemini" / "settings.json",)


def zed(world: World) -> tuple[PurePath, ...]:
    """Find the user settings of Zed; source: https://zed.dev/docs/configuring-zed."""
    if world.platform == "win32":
        folder = world.app_data() / "Zed"
    elif world.platform == "darwin":
        folder = world.path(world.home) / ".config" / "zed"
    else:
        flatpak = world.environ.get("FLATPAK_XDG_CONFIG_HOME", "").strip()
        folder = (world.path(flatpak) if flatpak else world.app_data()) / "zed"
    return (folder / "settings.json",)
