"""
The variables that lead to the network, read as people and desktops write them.

Proxies are named by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and what `NO_PROXY` leaves out. There is no standard,
only habits; these are curl's and Python's. What is written by mistake is read where its meaning is plain (`socks://`,
quotes, blanks, `*.host`), and named where it is not. `SSL_CERT_FILE` and `SSL_CERT_DIR` name certificates beside the
system's.

Sources: https://everything.curl.dev/usingcurl/proxies/env.html,
https://docs.python.org/3/library/urllib.request.html#urllib.request.getproxies and
https://docs.openssl.org/master/man3/SSL_CTX_load_verify_locations/
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from wan_mcp.settings.files import read_plain_file
from wan_mcp.settings.key_format import is_unfilled
from wan_mcp.settings.values import ProblemCode, SettingProblem
from wan_mcp_tools.domain.record import Record

USUAL_PORTS = {"https": 443, "http": 80}
"""The port that an address of a scheme means where it names none."""

_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5h", "socks": "socks5"}
"""How an address of a proxy may begin, and what is made of it."""
_QUOTES = "\"'`"
_SPLIT = re.compile(r"[,;\s]+")
_ALLOWED = "Use an address such as http://host:3128 or socks5://host:1080, or remove it."
_MOST_PORTS = 65535


class ProxyVariable(Record):
    """
    A variable that names a proxy.

    `address` is what to connect to, None where `problem` says why the value cannot be one. `remark` tells what the
    value has that other programs may stumble over. None of the texts repeats the value: it may hold a password.
    """

    name: str
    address: str | None
    problem: SettingProblem | None = None
    remark: str | None = None


def find_proxy_variable(environ: Mapping[str, str], scheme: str) -> ProxyVariable | None:
    """Find the variable that holds for addresses of a scheme; in small letters it wins, and empty it switches off."""
    for wanted in (f"{scheme}_proxy", "all_proxy"):
        for name in _spellings(environ, wanted):
            text = environ[name]
            if text.strip(_QUOTES + " \t\r\n") and not is_unfilled(text):
                return read_proxy_variable(name, text)
            if name == wanted and not text.strip():
                # So says the habit: an empty variable in small letters overrules one in capitals.
                break
    return None


def names_any_proxy(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment names a proxy; only if it does not, those of the operating system count."""
    return any(find_proxy_variable(environ, scheme) for scheme in ("http", "https"))


def read_proxy_variable(name: str, text: str) -> ProxyVariable:
    """Read the address in a variable."""
    stripped = text.strip()
    bare = stripped.strip(_QUOTES).strip()
    remark = None
    if bare != stripped:
        remark = "has quotes around its address, which are passed over here"
    elif stripped != text:
        remark = "has blanks or a line end around its address, which are passed over here"
    try:
        address = _parse_address(bare)
    except ValueError as error:
        return ProxyVariable(name, None, SettingProblem(name, ProblemCode.PROXY, str(error), _ALLOWED), remark)
    return ProxyVariable(name, address, remark=remark)


def is_left_out(environ: Mapping[str, str], host: str, port: int) -> bool:
    """Tell whether `NO_PROXY` says that a host is reached directly."""
    return any(_covers(entry, host.strip("[]").lower(), port) for entry in _list_left_out(environ))


def find_remarks(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Tell which variables have what other programs may stumble over: each name with a predicate."""
    found = {
        variable.name: variable for scheme in ("https", "http") if (variable := find_proxy_variable(environ, scheme))
    }
    remarks = [(name, variable.remark) for name, variable in found.items() if variable.remark]
    name = next(iter(_spellings(environ, "no_proxy")), "")
    starred = [entry for entry in _list_left_out(environ) if entry.startswith("*.")]
    if starred:
        remarks.append((name, f"holds {starred[0]}, which is read as {starred[0][1:]} here"))
    return remarks


def _spellings(environ: Mapping[str, str], wanted: str) -> list[str]:
    """Give the names of a variable that stand in the environment, the strongest first."""
    found = [name for name in (wanted, wanted.upper()) if name in environ]
    found += sorted(name for name in environ if name.lower() == wanted and name not in found)
    # A web server hands a client's header over under this name: https://httpoxy.org
    return [name for name in found if name != "HTTP_PROXY" or "REQUEST_METHOD" not in environ]


def _parse_address(text: str) -> str:
    """
    Read the address of a proxy.

    Raises:
        ValueError: it is none; the message is a predicate of its variable.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("holds a blank or a line end in its address")
    if any(quote in text for quote in _QUOTES):
        raise ValueError("holds a quote in its address")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if re.match(r"(?i)(?:https?|socks\w*)[:/]/?", text):
            raise ValueError("has no :// in its address")
        scheme, rest = "http", text
    known = _SCHEMES.get(scheme.lower())
    if known is None:
        kinds = "http, https and socks5 proxies are spoken to"
        raise ValueError(f"names a proxy of another kind ({_show_scheme(scheme)}), and only {kinds}")
    try:
        parts = urlsplit(f"{known}://{rest}")
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError("names a host that cannot be one") from error
    if parts.path.lower().endswith((".pac", ".dat")):
        raise ValueError("names a file for the automatic choice of a proxy, which is not read")
    if not _is_host(host):
        raise ValueError("names a host that cannot be one" if host else "names no host")
    login, at, location = parts.netloc.rpartition("@")
    port = _read_port(location)
    shown_host = f"[{host}]" if ":" in host else host
    return f"{known}://{login}{at}{shown_host}" + (f":{port}" if port is not None else "")


def _read_port(location: str) -> int | None:
    text = location.rpartition("]")[2].removeprefix(":") if "]" in location else location.partition(":")[2]
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("has a port that is no number")
    if not 1 <= int(text[:6]) <= _MOST_PORTS:
        raise ValueError(f"has a port outside of 1 to {_MOST_PORTS}")
    return int(text)


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return True
    return all(character.isalnum() or character in ".-_" for character in text) and text.strip(".-") != ""


def _show_scheme(scheme: str) -> str:
    return f"{scheme}://" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else "no scheme that is known"


def _list_left_out(environ: Mapping[str, str]) -> list[str]:
    for name in _spellings(environ, "no_proxy"):
        entries = [entry.strip(_QUOTES) for entry in _SPLIT.split(environ[name].strip().strip(_QUOTES))]
        return [entry for entry in entries if entry]
    return []


def _covers(entry: str, host: str, port: int) -> bool:
    """Tell whether an entry of `NO_PROXY` speaks of a host: a name with what is below it, an address, a network."""
    entry = entry.lower().partition("://")[2] or entry.lower()
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            entry = entry.partition("/")[0]
    if entry.startswith("["):
        name, _, wanted_port = entry[1:].partition("]")
        wanted_port = wanted_port.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, wanted_port = entry.partition(":")
    else:
        name, wanted_port = entry, ""
    if wanted_port and wanted_port != str(port):
        return False
    name = name.removeprefix("*").strip(".")
    host = host.rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


CERT_FILE, CERT_DIR = "SSL_CERT_FILE", "SSL_CERT_DIR"
_MOST_BYTES = 64 << 20
_CERTIFICATE = b"-----BEGIN"
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_ADVICE = "Correct or remove it."


class CertificateVariables(Record):
    """
    What the environment names, without the blanks and quotes around it; None where it names nothing.

    `folders` may be several, separated as PATH is.
    """

    file: str | None
    folders: str | None


def read_certificate_variables(environ: Mapping[str, str]) -> CertificateVariables:
    """Read the variables; nothing is looked at on the disk."""
    return CertificateVariables(_read(environ, CERT_FILE), _read(environ, CERT_DIR))


def find_certificate_problem(variables: CertificateVariables) -> SettingProblem | None:
    """
    Say why nobody could be trusted by what is named; None where nothing is named, or there is nothing wrong with it.

    A folder counts only where no file is named, for beside a file it may be empty. This reads the disk.
    """
    if variables.file is not None:
        reason = _find_fault_of_file(Path(variables.file))
        return _make_problem(CERT_FILE, variables.file, reason) if reason else None
    if variables.folders is not None:
        reasons = [_find_fault_of_folder(Path(each)) for each in variables.folders.split(os.pathsep) if each]
        if all(reasons):
            return _make_problem(CERT_DIR, variables.folders, reasons[0] if reasons else "which is no folder")
    return None


def _read(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip().strip(_QUOTES).strip()
    return None if not text or is_unfilled(text) else text


def _make_problem(name: str, path: str, reason: str | None) -> SettingProblem:
    return SettingProblem(name, ProblemCode.CERTIFICATES, f"names {path}, {reason}", _ADVICE)


def _find_fault_of_file(path: Path) -> str | None:
    try:
        data = read_plain_file(path, _MOST_BYTES)
    except FileNotFoundError:
        return "which does not exist"
    except OSError as error:
        return f"which cannot be read: {error.strerror}"
    if not data.strip():
        return "which is empty"
    return None if _CERTIFICATE in data else "which holds no certificates"


def _find_fault_of_folder(path: Path) -> str | None:
    try:
        names = os.listdir(path)  # noqa: PTH208 - the names alone are wanted
    except FileNotFoundError:
        return "which does not exist"
    except (OSError, ValueError) as error:
        return f"which cannot be read: {getattr(error, 'strerror', None) or 'its name cannot be one'}"
    if not names:
        return "which is empty"
    if any(_HASHED_NAME.fullmatch(name) for name in names):
        return None
    return "which holds no certificate under the name that OpenSSL looks for (openssl rehash makes them)"
