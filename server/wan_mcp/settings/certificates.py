"""
The certificates that the environment names beside the system's own: `SSL_CERT_FILE` and `SSL_CERT_DIR`.

Source: https://docs.openssl.org/master/man3/SSL_CTX_load_verify_locations/
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wan_mcp.settings.key_format import is_unfilled
from wan_mcp.settings.plain_files import read_plain_file
from wan_mcp.settings.values import ProblemCode, SettingProblem

CERT_FILE, CERT_DIR = "SSL_CERT_FILE", "SSL_CERT_DIR"
_MOST_BYTES = 64 << 20
_QUOTES = "\"'`"
_CERTIFICATE = b"-----BEGIN"
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_REMEDY = "Correct or remove it."


@dataclass(frozen=True, slots=True)
class CertificateVariables:
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
    return SettingProblem(name, ProblemCode.CERTIFICATES, f"names {path}, {reason}", _REMEDY)


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
