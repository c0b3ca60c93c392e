"""The log: on stderr, and without secrets."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from wan_mcp.log import StderrHandler, configure, redact

KEY = "sk-0123456789abcdef"
SIGNED = "https://dashscope-a717.oss-accelerate.aliyuncs.com/1.png?Expires=1&OSSAccessKeyId=LTAI5t&Signature=abc%2Fdef%3D&x=1"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [each for each in root.handlers if isinstance(each, StderrHandler)]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name in ("httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {KEY}.", "key sk-***"),
        ("sk-ws-H.abc_DEF-123", "sk-***"),
        ("token=st-0123456789abcdef", "token=st-***"),
        ("{'Authorization': 'Bearer abc.def-123'}", "{'Authorization': 'Bearer ***'}"),
        ("?Expires=1&Signature=a%2Fb&x=1", "?Expires=1&Signature=***&x=1"),
        ("?Expires%3D1%26Signature%3Dabc", "?Expires%3D1%26Signature%3D***"),
        ("?x-oss-signature=ab&x-oss-credential=cd/ef", "?x-oss-signature=***&x-oss-credential=***"),
        ("?security-token=CAIS", "?security-token=***"),
        ("OSSAccessKeyId=LTAI5t'", "OSSAccessKeyId=***'"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "task-0385dc79-1234",
        "risk-free desk-lamp",
        "dashscope-intl.aliyuncs.com",
        "first-class best-effort",
        "x-oss-signature-version=OSS4-HMAC-SHA256",
        "sk-",
        "the signature is wrong",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert redact(text) == text


def test_the_log_goes_to_stderr_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    logging.getLogger("wan_mcp.orders").info("saved %d images", 2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("wan-mcp INFO wan_mcp.orders: saved 2 images\n")


def test_the_level_holds(capfd: pytest.CaptureFixture[str]) -> None:
    configure("WARNING")
    logging.getLogger("wan_mcp").info("quiet")
    assert capfd.readouterr().err == ""


def test_configuring_twice_writes_each_line_once(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    configure("WARNING")
    logging.getLogger("wan_mcp").warning("once")
    assert capfd.readouterr().err.count("once") == 1


def test_secrets_in_arguments_and_tracebacks_are_masked(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    try:
        int(f"refused {SIGNED}")
    except ValueError:
        logging.getLogger("wan_mcp").exception("with %s", KEY)
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert "0123456789" not in err
    assert "abc%2Fdef" not in err
    assert "LTAI5t" not in err


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
async def test_no_request_address_is_logged_at_any_level(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure(level)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(SIGNED)
    assert "aliyuncs" not in capfd.readouterr().err


def test_a_library_that_sets_up_logging_later_adds_no_second_handler() -> None:
    configure("INFO")
    before = list(logging.getLogger().handlers)
    logging.basicConfig(level=logging.DEBUG)
    assert logging.getLogger().handlers == before
    assert logging.getLogger().level == logging.INFO
