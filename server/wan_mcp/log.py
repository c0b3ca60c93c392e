"""The log: stderr only, secrets never."""

import logging
import re
import sys

_CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2")
"""Loggers that write whole request addresses, signatures included, at INFO and DEBUG."""

_SECRETS = (
    (re.compile(r"(?<![A-Za-z0-9])(sk)-[A-Za-z0-9][A-Za-z0-9_.\-]{5,}"), r"\1-***"),
    (re.compile(r"(?<![A-Za-z0-9])(st)-[A-Za-z0-9]{16,}"), r"\1-***"),
    (re.compile(r"(?<![A-Za-z0-9])(wanmcp)_[A-Za-z0-9_\-]{6,}"), r"\1_***"),
    (re.compile(r"(?<![A-Za-z0-9])(eyJ)[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*){1,4}"), r"\1***"),
    (re.compile(r"(?i)\b(Bearer)\s+[A-Za-z0-9_.~+/=\-]{6,}"), r"\1 ***"),
    (
        re.compile(
            r"(?i)(?:\b|(?<=%26))((?:x-oss-)?(?:signature|security-token|credential)|OSSAccessKeyId)(=|%3D)[^&\s\"'<>]+"
        ),
        r"\1\2***",
    ),
)


def redact(text: str) -> str:
    """Replace what looks like a key, a token, or the signature of an image address."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class MaskingFormatter(logging.Formatter):
    """Masks the finished line, so that arguments and tracebacks are covered as well as the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line without secrets."""
        return redact(super().format(record))


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - None under pythonw
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
        except Exception:  # noqa: BLE001 - the same rule as in logging's own handlers
            self.handleError(record)


def configure(level: str) -> None:
    """
    Send the log of the whole process to stderr from this level on; a second call replaces the first.

    Call it before the protocol's library builds a server: that one sets up logging only where nobody has.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, StderrHandler):
            root.removeHandler(handler)
    handler = StderrHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s wan-mcp %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
