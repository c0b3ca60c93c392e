"""Whether people can sign in over HTTP: the file of tokens, and the issuer with its keys."""

from functools import partial

from wan_mcp.concurrency import run_in_daemon_thread
from wan_mcp.doctor.types import Environment, Finding, Verdict
from wan_mcp.http_app import build_issuer_network
from wan_mcp.settings import Settings
from wan_mcp.settings.sign_in import AUDIENCE, ISSUER, PUBLIC_URL, SECRET_KEY, TOKENS_FILE
from wan_mcp.storage.disk import WRITERS_ADVICE, find_writers
from wan_mcp_tools.domain.errors import SettingsError

_CHECK = "sign-in"


async def check_sign_in(environment: Environment, settings: Settings) -> list[Finding]:
    """Look at all that people sign in by."""
    findings = [*await _check_tokens(settings), *await _check_issuer(environment, settings)]
    if settings.ledger_url is not None and settings.secret_key is None:
        found = "not set, and servers that share a ledger sign with the same key"
        remedy = f"Set {SECRET_KEY} before you serve over HTTP; over stdio it is not needed."
        findings.append(Finding(_CHECK, SECRET_KEY, found, Verdict.NOTE, remedy))
    return findings


async def _check_tokens(settings: Settings) -> list[Finding]:
    path = settings.tokens_file
    if path is None:
        return []
    from wan_mcp.auth.tokens import read_tokens  # noqa: PLC0415 - most have no such file

    looked_at = f"{TOKENS_FILE} {path}"
    try:
        tokens = await run_in_daemon_thread(partial(read_tokens, path))
    except SettingsError as error:
        return [Finding(_CHECK, looked_at, error.message.rstrip("."), Verdict.PROBLEM, error.advice)]
    count = "1 token" if len(tokens) == 1 else f"{len(tokens)} tokens"
    findings = [Finding(_CHECK, looked_at, count)]
    if not tokens:
        remedy = "Make one: wan-mcp token create NAME"
        findings = [Finding(_CHECK, looked_at, "no tokens, so nobody signs in by it", Verdict.NOTE, remedy)]
    writers = await run_in_daemon_thread(partial(find_writers, [path]))
    findings += [
        Finding(_CHECK, looked_at, f"can be written to by {who}", Verdict.PROBLEM, WRITERS_ADVICE)
        for _, who in writers
    ]
    return findings


async def _check_issuer(environment: Environment, settings: Settings) -> list[Finding]:
    if settings.auth_issuer is None:
        return []
    if settings.public_url is None:
        remedy = f"Set {PUBLIC_URL} to the address that clients use, without /mcp."
        return [Finding(_CHECK, PUBLIC_URL, f"not set, and {ISSUER} needs it", Verdict.PROBLEM, remedy)]
    # The HTTP library is loaded then.
    network = await run_in_daemon_thread(build_issuer_network)
    from wan_mcp.auth.errors import IssuerError  # noqa: PLC0415 - the same
    from wan_mcp.auth.issuer import Issuer  # noqa: PLC0415 - most have no issuer

    looked_at = f"the issuer {settings.auth_issuer}"
    try:
        keys = await Issuer(settings.auth_issuer, network=network, clock=environment.clock).fetch_keys()
    except IssuerError as error:
        remedy = f"Correct {ISSUER}: it is what its tokens name in iss, letter for letter. Or look at the network."
        return [Finding(_CHECK, looked_at, str(error), Verdict.PROBLEM, remedy)]
    if not keys:
        remedy = "Let it sign with RS, PS, ES or EdDSA keys: no others are taken."
        return [Finding(_CHECK, looked_at, "tells no key that could be used", Verdict.PROBLEM, remedy)]
    count = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    audience = settings.auth_audience or f"{settings.public_url}/mcp"
    return [
        Finding(_CHECK, looked_at, f"answers, with {count}"),
        Finding(_CHECK, AUDIENCE, f"tokens are for {audience}"),
    ]
