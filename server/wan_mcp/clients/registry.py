"""The clients that can be configured, as data, and where each of them keeps its file."""

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

from wan_mcp.clients.formats import KeyPath
from wan_mcp_tools.domain.record import Record


class Machine(Record):
    """
    The machine that a client runs on.

    `platform` is as in `sys.platform`: win32, darwin, linux. `environ` are the environment variables, `home` is the
    person's folder.
    """

    platform: str
    environ: Mapping[str, str]
    home: str

    @property
    def is_wsl(self) -> bool:
        """Whether this is a Linux that runs inside Windows: https://learn.microsoft.com/windows/wsl/."""
        return self.platform == "linux" and bool(self.environ.get("WSL_DISTRO_NAME"))

    def path(self, text: str) -> PurePath:
        """Give a path as the platform writes it."""
        return PureWindowsPath(text) if self.platform == "win32" else PurePosixPath(text)

    def folder(self, variable: str, *default: str) -> PurePath:
        """Give the folder that a variable names, or the default one below the home folder."""
        named = self.environ.get(variable, "").strip()
        return self.path(named) if named else self.path(self.home).joinpath(*default)

    def app_data(self) -> PurePath:
        """Give the folder of desktop programs' settings."""
        if self.platform == "win32":
            return self.folder("APPDATA", "AppData", "Roaming")
        if self.platform == "darwin":
            return self.path(self.home) / "Library" / "Application Support"
        return self.folder("XDG_CONFIG_HOME", ".config")


class EntryOption(Record):
    """
    Something that a client does for a server if its entry says so.

    `members` are laid over the entry. `consequence` is a sentence on what follows from it, before it is written.
    """

    members: Mapping[str, object]
    consequence: str


class Client(Record):
    """
    One client.

    `servers` leads to its list of servers in the file. `config_paths` gives the places where the file may be, the
    likeliest first. `program` is its command, by which it is found on this machine. `plain_json` says that it reads
    JSON without comments only. `transport` is the `type` of an entry, if it has one; `variables` is what the entry
    calls the environment, and `one_command` says that command and arguments are one list. `prompts` says that it can
    ask for a secret itself and keep it. `adds_servers` says that its own command adds a server, and that this is the
    better way. `desktop` says that it is a program of the desktop, not of the terminal. `reload_advice` says what
    makes it see the change. `options` are what a person may choose besides, by the name on the command line.
    """

    id: str
    title: str
    format: Literal["JSON", "TOML"]
    servers: KeyPath
    config_paths: Callable[[Machine], tuple[PurePath, ...]]
    program: str | None = None
    plain_json: bool = False
    transport: str | None = None
    variables: str = "env"
    one_command: bool = False
    prompts: bool = False
    adds_servers: bool = False
    desktop: bool = False
    reload_advice: str = ""
    options: Mapping[str, EntryOption] = field(default_factory=dict[str, EntryOption])


def find_client(client_id: str) -> Client:
    """
    Find a client by its id.

    Raises:
        KeyError: there is none.
    """
    return {client.id: client for client in CLIENTS}[client_id]


def find_config_path(client: Client, machine: Machine) -> Path:
    """Find a client's file: one that exists, else the first whose folder does, else the last, usual place."""
    candidates = [Path(path) for path in client.config_paths(machine)]
    for each in candidates:
        if each.is_file():
            return each
    for each in candidates:
        if each.parent.is_dir():
            return each
    return candidates[-1]


def _claude_desktop_paths(machine: Machine) -> tuple[PurePath, ...]:
    """
    Find the file of Claude Desktop.

    Sources: https://modelcontextprotocol.io/docs/develop/connect-local-servers and, for the packaged program on
    Windows, whose %APPDATA% is redirected, https://github.com/anthropics/claude-code/issues/26073
    """
    name = "claude_desktop_config.json"
    plain = machine.app_data() / "Claude" / name
    if machine.platform != "win32":
        return (plain,)
    local = machine.folder("LOCALAPPDATA", "AppData", "Local")
    return (local / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming" / "Claude" / name, plain)


def _claude_code_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the file of Claude Code's user scope; source: https://code.claude.com/docs/en/mcp#mcp-installation-scopes."""
    return (machine.folder("CLAUDE_CONFIG_DIR") / ".claude.json",)


def _cursor_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the global file of Cursor; source: https://cursor.com/docs/mcp."""
    return (machine.path(machine.home) / ".cursor" / "mcp.json",)


def _vscode_paths(machine: Machine) -> tuple[PurePath, ...]:
    """
    Find the file of VS Code's default profile.

    Source: https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
    """
    return (machine.app_data() / "Code" / "User" / "mcp.json",)


def _windsurf_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the file of Windsurf, now Devin Desktop; source: https://docs.devin.ai/desktop/cascade/mcp."""
    return (machine.path(machine.home) / ".codeium" / "windsurf" / "mcp_config.json",)


def _codex_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the file of Codex; source: https://developers.openai.com/codex/mcp."""
    return (machine.folder("CODEX_HOME", ".codex") / "config.toml",)


def _gemini_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the user settings of Gemini CLI; source: https://geminicli.com/docs/tools/mcp-server."""
    return (machine.folder("GEMINI_CLI_HOME") / ".gemini" / "settings.json",)


def _qwen_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the user settings of Qwen Code; source: https://qwenlm.github.io/qwen-code-docs/en/users/features/mcp/."""
    return (machine.folder("QWEN_HOME", ".qwen") / "settings.json",)


def _opencode_paths(machine: Machine) -> tuple[PurePath, ...]:
    """
    Find the global file of opencode, which is in the same place on every platform.

    Source: https://opencode.ai/docs/config/
    """
    folder = machine.folder("XDG_CONFIG_HOME", ".config") / "opencode"
    plain = folder / "opencode.json"
    return (plain, folder / "opencode.jsonc", plain)


def _zed_paths(machine: Machine) -> tuple[PurePath, ...]:
    """Find the user settings of Zed; source: https://zed.dev/docs/configuring-zed."""
    if machine.platform == "win32":
        folder = machine.app_data() / "Zed"
    elif machine.platform == "darwin":
        folder = machine.path(machine.home) / ".config" / "zed"
    else:
        flatpak = machine.environ.get("FLATPAK_XDG_CONFIG_HOME", "").strip()
        folder = (machine.path(flatpak) if flatpak else machine.app_data()) / "zed"
    return (folder / "settings.json",)


_MCP_SERVERS = ("mcpServers",)

CLIENTS: tuple[Client, ...] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        "JSON",
        _MCP_SERVERS,
        _claude_desktop_paths,
        program="claude-desktop",
        desktop=True,
        plain_json=True,
        reload_advice="Quit Claude Desktop, from its menu and not just its window, and start it again.",
    ),
    Client(
        "claude-code",
        "Claude Code",
        "JSON",
        _MCP_SERVERS,
        _claude_code_paths,
        program="claude",
        plain_json=True,
        transport="stdio",
        # The program keeps its own state in the same file and writes it all the time.
        adds_servers=True,
        reload_advice="Start a new session of claude; /mcp shows the server.",
    ),
    Client(
        "cursor",
        "Cursor",
        "JSON",
        _MCP_SERVERS,
        _cursor_paths,
        program="cursor",
        desktop=True,
        reload_advice="Restart Cursor, and see its settings under MCP.",
    ),
    Client(
        "vscode",
        "VS Code",
        "JSON",
        ("servers",),
        _vscode_paths,
        program="code",
        desktop=True,
        transport="stdio",
        prompts=True,
        reload_advice="In VS Code run the command MCP: List Servers and start the server.",
    ),
    Client(
        "windsurf",
        "Windsurf",
        "JSON",
        _MCP_SERVERS,
        _windsurf_paths,
        program="windsurf",
        desktop=True,
        plain_json=True,
        reload_advice="Refresh the MCP servers in Cascade, or restart Windsurf.",
    ),
    Client(
        "codex",
        "Codex",
        "TOML",
        ("mcp_servers",),
        _codex_paths,
        program="codex",
        reload_advice="Start a new session of codex; /mcp shows the server.",
        # Source: https://developers.openai.com/codex/config-reference
        options={
            "required": EntryOption(
                {"required": True},
                "Codex then waits for this server, and refuses to start without it.",
            ),
            "approve": EntryOption(
                {"default_tools_approval_mode": "approve"},
                "Codex then orders pictures, which cost money, without asking.",
            ),
        },
    ),
    Client(
        "gemini",
        "Gemini CLI",
        "JSON",
        _MCP_SERVERS,
        _gemini_paths,
        program="gemini",
        reload_advice="Start a new session of gemini; /mcp shows the server.",
    ),
    Client(
        "qwen",
        "Qwen Code",
        "JSON",
        _MCP_SERVERS,
        _qwen_paths,
        program="qwen",
        reload_advice="Start a new session of qwen; /mcp shows the server.",
    ),
    Client(
        "opencode",
        "opencode",
        "JSON",
        ("mcp",),
        _opencode_paths,
        program="opencode",
        transport="local",
        variables="environment",
        one_command=True,
        reload_advice="Start opencode again; opencode mcp list shows the server.",
    ),
    Client(
        "zed",
        "Zed",
        "JSON",
        ("context_servers",),
        _zed_paths,
        program="zed",
        desktop=True,
        reload_advice="Zed sees it at once; the agent panel's settings show the server.",
    ),
)

ANY_OTHER = Client("other", "any other client", "JSON", _MCP_SERVERS, lambda _: ())
"""The form that most clients read, for printing."""
