"""The settings by which people sign in: the server's own address, and whose tokens are taken."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from wan_mcp.settings.region_access import is_loopback
from wan_mcp.settings.values import ProblemCode, Values

PUBLIC_URL, TOKENS_FILE, ISSUER = "WAN_MCP_PUBLIC_URL", "WAN_MCP_TOKENS_FILE", "WAN_MCP_AUTH_ISSUER"
SECRET_KEY = "WAN_MCP_SECRET_KEY"  # noqa: S105 - the name of a setting
AUDIENCE = "WAN_MCP_AUTH_AUDIENCE"
LEAST_SECRET_CHARACTERS = 32
_LONGEST_AUDIENCE = 500
_ENDPOINT = "/mcp"


def read_public_url(values: Values) -> str | None:
    """Give the address that clients use, without a slash at its end and in small letters up to its path."""
    found = _read_url(values, PUBLIC_URL, "Use an address such as https://pictures.example.com, without /mcp.")
    if found is None:
        return None
    if found.endswith(_ENDPOINT):
        values.refuse(PUBLIC_URL, ProblemCode.URL, "ends in /mcp", "Leave /mcp out: it is added where it is needed.")
        return None
    parts = urlsplit(found)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def read_issuer(values: Values) -> str | None:
    """Give the issuer as it was written: its tokens must name it in the very same letters."""
    return _read_url(
        values, ISSUER, "Use the address that its tokens name in iss, such as https://login.example.com."
    )


def read_audience(values: Values) -> str | None:
    """Give what tokens must name as their audience."""
    text = values.text(AUDIENCE)
    if text is not None and (len(text) > _LONGEST_AUDIENCE or not text.isprintable()):
        values.refuse(AUDIENCE, ProblemCode.CHOICE, "is no audience", "Use one that the issuer writes into aud.")
        return None
    return text


def read_secret_key(values: Values) -> SecretStr | None:
    """Give the key that links are signed with."""
    text = values.secret(SECRET_KEY)
    if text is None:
        return None
    if len(text) < LEAST_SECRET_CHARACTERS:
        advice = f"Use at least {LEAST_SECRET_CHARACTERS} characters by chance, such as openssl rand -hex 32 gives."
        values.refuse(SECRET_KEY, ProblemCode.SECRET, f"has only {len(text)} characters", advice)
        return None
    return SecretStr(text)


def _read_url(values: Values, name: str, advice: str) -> str | None:
    text = values.text(name)
    if text is None:
        return None
    statement = _find_fault(text)
    if statement is not None:
        values.refuse(name, ProblemCode.URL, statement, advice)
        return None
    return text


def _find_fault(text: str) -> str | None:
    """Say what is wrong with an address, as a predicate."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or a password"
    if parts.scheme.lower() not in ("https", "http") or not host or port == 0 or not _is_plain(text):
        return f"is {text!r}, which is no web address"
    if parts.scheme.lower() == "http" and not is_loopback(host):
        return f"is {text!r}: over plain http tokens could be read on their way"
    if "?" in text or "#" in text:
        return f"is {text!r}, which has more than a path"
    return None


def _is_plain(text: str) -> bool:
    return text.isascii() and all(letter.isalnum() or letter in "-._~:/?#[]@!$&()*+,;=%" for letter in text)
