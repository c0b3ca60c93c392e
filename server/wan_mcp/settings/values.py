"""Single settings: looked up, checked one by one, and every problem gathered."""

import math
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from wan_mcp.settings.files import read_secret_file
from wan_mcp.settings.key_format import is_placeholder, is_sample, is_unfilled
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

_MODE = re.compile(r"(?:0o?)?(?P<digits>[4-7][0-7]{2})", re.IGNORECASE)
_AMOUNT = re.compile(r"(?P<amount>[0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(?P<currency>[A-Z]{3})")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class ProblemCode(StrEnum):
    """In which way a setting is wrong."""

    FILE = "UnreadableFile"
    NUMBER = "InvalidNumber"
    CHOICE = "InvalidChoice"
    SWITCH = "InvalidSwitch"
    MODE = "InvalidMode"
    AMOUNT = "InvalidAmount"
    PATH = "InvalidPath"
    HOST = "InvalidHost"
    JSON = "InvalidJson"
    URL = "InvalidUrl"
    SECRET = "InvalidSecret"  # noqa: S105 - a code
    REGION = "UnknownRegion"
    WORKSPACE = "InvalidWorkspace"
    BASE_URL = "InvalidBaseUrl"
    PROXY = "InvalidProxy"
    CERTIFICATES = "InvalidCertificates"
    MISSING = "Missing"


class SettingProblem(Record):
    """
    What is wrong with a setting, and what to do.

    `name` is the variable; None where it is about the settings file. `statement` is a predicate of the name without a
    full stop, or a sentence where there is no name. `advice` says what is allowed.
    """

    name: str | None
    code: ProblemCode
    statement: str
    advice: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, f"{self.statement}.", self.advice) if part)


class Values:
    """
    The settings by name: the environment first, then the settings file.

    A value that is blank, or a template that nobody filled in (`${DASHSCOPE_API_KEY}`, `{env:KEY}`, `undefined`),
    counts as not set: programs that start servers pass such values on. `problems` gathers what is wrong with the
    others.
    """

    def __init__(self, environ: Mapping[str, str], file: Mapping[str, str]) -> None:
        self._sources = (environ, file)
        self.problems: list[SettingProblem] = []

    @property
    def names(self) -> frozenset[str]:
        """Every name that stands in the environment or in the file, be it a setting or not."""
        return frozenset(name for source in self._sources for name in source)

    def text(self, name: str) -> str | None:
        """Give the value without the blanks around it, or None if it is not set."""
        return self._find(name, is_unfilled)

    def sources(self, name: str) -> tuple[int, ...]:
        """Tell which sources hold a value, the one that holds first: 0 the environment, 1 the settings file."""
        return tuple(
            number
            for number, source in enumerate(self._sources)
            if (value := source.get(name, "").strip()) and not is_unfilled(value)
        )

    def credential(self, name: str) -> str | None:
        """Give a key; what is visibly none (`YOUR_API_KEY`, `op://vault/key`) counts as not set."""
        return self._find(name, is_placeholder)

    def identifier(self, name: str) -> str | None:
        """Give an id; the sample values of instructions (`llm-your-workspace`) count as not set."""
        return self._find(name, lambda value: is_unfilled(value) or is_sample(value))

    def secret(self, name: str) -> str | None:
        """Give the value, or what stands in the file that `<name>_FILE` names."""
        text, path = self.text(name), self.text(f"{name}_FILE")
        if text is not None or path is None:
            return text
        try:
            found = read_secret_file(path)
        except (OSError, SettingsError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.refuse(f"{name}_FILE", ProblemCode.FILE, f"names {path}, which cannot be read: {reason}", "")
            return None
        if not found:
            self.refuse(f"{name}_FILE", ProblemCode.FILE, f"names {path}, which is empty", "")
        return found or None

    def holds_placeholder(self, name: str) -> bool:
        """Tell whether something was written there that stands for a key and is none."""
        return self._is_written(name) and self.credential(name) is None

    def is_unfilled(self, name: str) -> bool:
        """Tell whether something was written there that stands for a value and was never filled in."""
        return self._is_written(name) and self.text(name) is None

    def refuse(self, name: str, code: ProblemCode, statement: str, advice: str) -> SettingProblem:
        """Note what is wrong with a setting, and give it."""
        problem = SettingProblem(name, code, statement, advice)
        self.problems.append(problem)
        return problem

    def number(self, name: str, default: float, low: float, high: float, unit: str) -> float:
        """Give a finite number in the range."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            advice = f"Use a number of {unit} from {low:g} to {high:g}."
            self.refuse(name, ProblemCode.NUMBER, f"is {text!r}", advice)
            return default
        return value

    def whole(self, name: str, default: int, low: int, high: int, unit: str) -> int:
        """Give a whole number in the range."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            advice = f"Use a whole number of {unit} from {low} to {high}."
            self.refuse(name, ProblemCode.NUMBER, f"is {text!r}", advice)
            return default
        return value

    def amounts(self, name: str) -> Mapping[str, Decimal]:
        """Give amounts of money by their currency, such as `5 USD` or `5 USD, 35 CNY`."""
        found: dict[str, Decimal] = {}
        for part in (self.text(name) or "").split(","):
            match = _AMOUNT.fullmatch(part.strip().upper())
            if match is not None and match["currency"] not in found:
                found[match["currency"]] = Decimal(match["amount"])
            elif self.text(name) is not None:
                advice = "Use an amount and a currency, such as 5 USD; of several currencies one each: 5 USD, 35 CNY."
                self.refuse(name, ProblemCode.AMOUNT, f"is {self.text(name)!r}", advice)
                return {}
        return found

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """Give one of the allowed words, in any case."""
        text = self.text(name)
        if text is None:
            return default
        for word in allowed:
            if text.lower() == word.lower():
                return word
        self.refuse(name, ProblemCode.CHOICE, f"is {text!r}", f"Use one of: {', '.join(allowed)}.")
        return default

    def switch(self, name: str) -> bool:
        """Give a switch, off unless it is set."""
        words = {"0": False, "false": False, "no": False, "off": False}
        words |= {"1": True, "true": True, "yes": True, "on": True}
        text = self.text(name) or "0"
        if text.lower() not in words:
            self.refuse(name, ProblemCode.SWITCH, f"is {text!r}", "Use 1 to switch it on or 0 to switch it off.")
        return words.get(text.lower(), False)

    def mode(self, name: str, default: int) -> int:
        """Give the rights of files, written in octal; the owner must be able to read."""
        text = self.text(name)
        if text is None:
            return default
        match = _MODE.fullmatch(text)
        if match is None:
            advice = "Use three octal digits, such as 600 or 644; the first is 4, 5, 6 or 7."
            self.refuse(name, ProblemCode.MODE, f"is {text!r}", advice)
            return default
        return int(match["digits"], 8)

    def folder(self, name: str) -> Path | None:
        """Give a folder's full path; it need not exist."""
        text = self.text(name)
        return None if text is None else self._full_path(name, text)

    def folders(self, name: str) -> tuple[Path, ...]:
        """Give the full paths of several folders, separated as PATH is."""
        parts = [part.strip() for part in (self.text(name) or "").split(os.pathsep)]
        paths = [self._full_path(name, part) for part in parts if part]
        return tuple(path for path in paths if path is not None)

    def hosts(self, name: str) -> tuple[str, ...]:
        """Give host names, each with its port if it has one, in small letters."""
        parts = [part.strip().lower() for part in (self.text(name) or "").split(",")]
        found = [part for part in parts if part]
        for part in found:
            if not _HOST.fullmatch(part):
                advice = "Use names such as images.example.com or 127.0.0.1:8080."
                self.refuse(name, ProblemCode.HOST, f"holds {part!r}", advice)
        return tuple(part for part in found if _HOST.fullmatch(part))

    def _find(self, name: str, is_none: Callable[[str], bool]) -> str | None:
        found = (source.get(name, "").strip() for source in self._sources)
        return next((value for value in found if value and not is_none(value)), None)

    def _is_written(self, name: str) -> bool:
        return any(source.get(name, "").strip() for source in self._sources)

    def _full_path(self, name: str, text: str) -> Path | None:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode(errors="backslashreplace").decode()
            statement = f"is '{shown}', whose bytes are not UTF-8"
            self.refuse(name, ProblemCode.PATH, statement, "Rename that folder, or name another one.")
            return None
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            path = Path(text)
        if path.is_absolute():
            return path
        # A client may start the server in any folder, and a ledger that moves with it would forget orders.
        statement = f"is {text!r}, which is not a full path"
        self.refuse(name, ProblemCode.PATH, statement, "Begin it at the root or with ~.")
        return None
