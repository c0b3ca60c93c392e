"""Every setting, as the documentation lists it."""

from typing import NamedTuple

from wan_mcp_tools.catalogue.regions import REGIONS


class SettingRow(NamedTuple):
    """
    One setting: its variable, what holds without it, what it means, and whether its value is a secret.

    `<REGION>` in a name stands for a region's name in capitals. An empty default means that there is none.
    """

    name: str
    default: str
    meaning: str
    secret: bool = False


SETTING_ROWS: tuple[SettingRow, ...] = (
    SettingRow("DASHSCOPE_API_KEY", "", "The key of the default region.", secret=True),
    SettingRow(
        "DASHSCOPE_API_KEY_FILE",
        "",
        "A file that holds the key of the default region; read where DASHSCOPE_API_KEY is not set.",
    ),
    SettingRow("DASHSCOPE_API_KEY_FILE_PATH", "", "The same, by the name that the service's own SDK has for it."),
    SettingRow(
        "DASHSCOPE_REGION",
        "singapore",
        "The default region: singapore, beijing, virginia, frankfurt, tokyo, hongkong or sandbox,"
        " or a region id such as ap-southeast-1.",
    ),
    SettingRow(
        "DASHSCOPE_API_KEY_<REGION>",
        "",
        "The key of a further region, for example DASHSCOPE_API_KEY_BEIJING.",
        secret=True,
    ),
    SettingRow("DASHSCOPE_API_KEY_<REGION>_FILE", "", "A file that holds it; read where that variable is not set."),
    SettingRow(
        "DASHSCOPE_WORKSPACE_ID",
        "",
        "The workspace of the default region's key; its own host is then used in place of the shared one.",
    ),
    SettingRow(
        "DASHSCOPE_WORKSPACE_ID_<REGION>",
        "",
        "The workspace of a further region's key; Frankfurt and Tokyo cannot be reached without one.",
    ),
    SettingRow(
        "DASHSCOPE_HTTP_BASE_URL",
        "",
        "Replaces the default region's address; it ends in /api/v1.",
    ),
    SettingRow(
        "DASHSCOPE_HTTP_BASE_URL_<REGION>",
        "",
        "Replaces the address of a further region; it ends in /api/v1.",
    ),
    SettingRow("WAN_MCP_MODEL", "wan2.6-t2i", "The model of an order that names none."),
    SettingRow("WAN_MCP_EDIT_MODEL", "wan2.7-image", "The model of an order that has images and names none."),
    SettingRow("WAN_MCP_OUTPUT_DIR", "wan-mcp in your pictures folder", "The folder where images are saved."),
    SettingRow(
        "WAN_MCP_ALLOWED_DIRS",
        "",
        "Further folders that a call may save in and take pictures from, separated as PATH is.",
    ),
    SettingRow("WAN_MCP_STATE_DIR", "the platform's state folder", "The folder of the ledger."),
    SettingRow("WAN_MCP_WAIT_SECONDS", "45", "How long a waiting call waits if it does not say, 0 to 3600."),
    SettingRow(
        "WAN_MCP_DAILY_IMAGE_LIMIT",
        "100",
        "How many images may be ordered in 24 hours; 0 means no limit.",
    ),
    SettingRow(
        "WAN_MCP_DAILY_COST_LIMIT",
        "",
        "What may be ordered in 24 hours by the catalogue's indicative prices, such as 5 USD or 5 USD, 35 CNY; an"
        " order in another currency, or of no known price, is refused then.",
    ),
    SettingRow("WAN_MCP_MONTHLY_COST_LIMIT", "", "The same for the last 30 days."),
    SettingRow("WAN_MCP_OPEN_LIMIT", "0", "How many orders may go on at once; 0 means no limit."),
    SettingRow(
        "WAN_MCP_USER_DAILY_IMAGE_LIMIT",
        "0",
        "How many images each person or token may order in 24 hours; 0 means no limit.",
    ),
    SettingRow(
        "WAN_MCP_USER_DAILY_COST_LIMIT",
        "",
        "What each may order in 24 hours, written as WAN_MCP_DAILY_COST_LIMIT is.",
    ),
    SettingRow("WAN_MCP_USER_MONTHLY_COST_LIMIT", "", "The same for the last 30 days."),
    SettingRow(
        "WAN_MCP_USER_OPEN_LIMIT",
        "0",
        "How many orders of each may go on at once; 0 means no limit.",
    ),
    SettingRow(
        "WAN_MCP_USER_CALLS_PER_MINUTE",
        "0",
        "How many calls a minute each who signs in may make, so many of them at once; 0 means no limit.",
    ),
    SettingRow(
        "WAN_MCP_IMAGE_HOSTS",
        "",
        "Hosts that images may come from beside the service's own, comma-separated, as host or host:port;"
        " plain http is accepted from them.",
    ),
    SettingRow("WAN_MCP_MAX_IMAGE_BYTES", "67108864", "The size in bytes of the largest image accepted."),
    SettingRow(
        "WAN_MCP_FILE_MODE",
        "600",
        "The rights of images and of the files beside them, in octal: 600 is for you alone, 644 lets everybody read.",
    ),
    SettingRow(
        "WAN_MCP_PROTOCOL",
        "async",
        "async, or sync to order through the synchronous protocol where the model has one.",
    ),
    SettingRow(
        "WAN_MCP_EXTRA_MODELS",
        "",
        "Models newer than this release: a JSON list of objects with id, protocol, size rule and so on.",
    ),
    SettingRow(
        "WAN_MCP_KEEPER",
        "0",
        "1 starts a small process of its own that finishes open orders after the server has ended.",
    ),
    SettingRow(
        "WAN_MCP_LEDGER_URL",
        "",
        "A PostgreSQL database for the ledger of several servers, as postgresql://user:password@host/name; needs"
        " wan-mcp[server].",
        secret=True,
    ),
    SettingRow("WAN_MCP_LEDGER_URL_FILE", "", "A file that holds it; read where WAN_MCP_LEDGER_URL is not set."),
    SettingRow(
        "WAN_MCP_STORAGE_URL",
        "",
        "An object store that keeps the images, in the place of a folder, as s3://bucket/prefix; needs"
        " wan-mcp[server].",
    ),
    SettingRow("AWS_ENDPOINT_URL", "", "The address of the object store, where it is not Amazon's own."),
    SettingRow("AWS_REGION", "us-east-1", "The region of the object store."),
    SettingRow("AWS_ACCESS_KEY_ID", "", "The id of the object store's key; without one the machine's role is used."),
    SettingRow("AWS_SECRET_ACCESS_KEY", "", "The object store's key.", secret=True),
    SettingRow("AWS_SECRET_ACCESS_KEY_FILE", "", "A file that holds it; read if AWS_SECRET_ACCESS_KEY is not set."),
    SettingRow("AWS_ALLOW_HTTP", "0", "1 lets AWS_ENDPOINT_URL be plain http."),
    SettingRow(
        "WAN_MCP_PUBLIC_URL",
        "",
        "The address that clients of the HTTP server use, without /mcp: the only source of every address that is"
        " told, and allowed as Host; https, or http on this machine.",
    ),
    SettingRow(
        "WAN_MCP_TOKENS_FILE",
        "",
        "A file of static tokens, as digests, by which people sign in over HTTP; wan-mcp token create adds to it.",
    ),
    SettingRow(
        "WAN_MCP_AUTH_ISSUER",
        "",
        "The OAuth issuer whose tokens are taken over HTTP, as its tokens name it; needs WAN_MCP_PUBLIC_URL.",
    ),
    SettingRow(
        "WAN_MCP_AUTH_AUDIENCE",
        "WAN_MCP_PUBLIC_URL with /mcp",
        "What the issuer's tokens must name as their audience.",
    ),
    SettingRow(
        "WAN_MCP_SECRET_KEY",
        "a key in the state folder",
        "What links are signed with, at least 32 characters and the same on every server; needed with"
        " WAN_MCP_LEDGER_URL over HTTP.",
        secret=True,
    ),
    SettingRow("WAN_MCP_SECRET_KEY_FILE", "", "A file that holds it; read where WAN_MCP_SECRET_KEY is not set."),
    SettingRow(
        "WAN_MCP_LOG_LEVEL",
        "WARNING",
        "How much is written to stderr: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    ),
    SettingRow(
        "WAN_MCP_ENV_FILE",
        "",
        "A file with any of these settings; a variable of the environment wins over the file.",
    ),
)


def expand_name(name: str) -> tuple[str, ...]:
    """Give the variables that a row of the table stands for: one, or one for each region."""
    return tuple(dict.fromkeys(name.replace("<REGION>", region.name.upper()) for region in REGIONS))
