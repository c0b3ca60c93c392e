"""The clients that can be configured, as data."""

from dataclasses import dataclass

from wan_mcp.hosts import places
from wan_mcp.hosts.formats import JSON, TOML, Format
from wan_mcp.hosts.places import Places
from wan_mcp.hosts.values import Path


@dataclass(frozen=True, slots=True)
class Host:
    """
    One client.

    `servers` leads to its list of servers in the file. `program` is its command, by which it is found on this
    machine. `plain` says that it reads plain JSON only, without comments. `typed` says that an entry names its
    transport. `prompts` says that it can ask for a secret itself and keep it. `adds` says that its own command adds
    a server, and that this is the better way. `windowed` says that it is a program of the desktop, not of the
    terminal. `then` is what makes it see the change.
    """

    id: str
    title: str
    format: Format
    servers: Path
    places: Places
    program: str | None = None
    plain: bool = False
    typed: bool = False
    prompts: bool = False
    adds: bool = False
    windowed: bool = False
    then: str = ""


_MCP_SERVERS = ("mcpServers",)

HOSTS: tuple[Host, ...] = (
    Host(
        "claude-desktop",
        "Claude Desktop",
        JSON,
        _MCP_SERVERS,
        places.claude_desktop,
        program="claude-desktop",
        windowed=True,
        plain=True,
        then="Quit Claude Desktop, from its menu and not just its window, and start it again.",
    ),
    Host(
        "claude-code",
        "Claude Code",
        JSON,
        _MCP_SERVERS,
        places.claude_code,
        program="claude",
        plain=True,
        typed=True,
        # The file is also the program's own notebook, which it writes all the time.
        adds=True,
        then="Start a new session of claude; /mcp shows the server.",
    ),
    Host(
        "cursor",
        "Cursor",
        JSON,
        _MCP_SERVERS,
        places.cursor,
        program="cursor",
        windowed=True,
        then="Restart Cursor, and see its settings under MCP.",
    ),
    Host(
        "vscode",
        "VS Code",
        JSON,
        ("servers",),
        places.vscode,
        program="code",
        windowed=True,
        typed=True,
        prompts=True,
        then="In VS Code run the command MCP: List Servers and start the server.",
    ),
    Host(
        "windsurf",
        "Windsurf",
        JSON,
        _MCP_SERVERS,
        places.windsurf,
        program="windsurf",
        windowed=True,
        plain=True,
        then="Refresh the MCP servers in Cascade, or restart Windsurf.",
    ),
    Host(
        "codex",
        "Codex",
        TOML,
        ("mcp_servers",),
        places.codex,
        program="codex",
        then="Start a new session of codex; /mcp shows the server.",
    ),
    Host(
        "gemini",
        "Gemini CLI",
        JSON,
        _MCP_SERVERS,
        places.gemini,
        program="gemini",
        then="Start a new session of gemini; /mcp shows the server.",
    ),
    Host(
        "zed",
        "Zed",
        JSON,
        ("context_servers",),
        places.zed,
        program="zed",
        windowed=True,
        then="Zed sees it at once; the agent panel's settings show the server.",
    ),
)

ANY_OTHER = Host("other", "any other client", JSON, _MCP_SERVERS, lambda _: ())
"""The form that most clients read, for printing."""


def find_host(host_id: str) -> Host:
    """
    Find a client by its id.

    Raises:
        KeyError: there is none.
    """
    return {host.id: host for host in HOSTS}[host_id]
