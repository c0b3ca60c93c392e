"""Tokens of an issuer: which are taken, and what happens to the keys that they are checked with."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode

import anyio
import jwt
import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from fakes.clock import FakeClock
from fakes.issuer import PLAIN_NETWORK, FakeIssuer, make_key, tampered, unsigned
from wan_mcp.auth.errors import IssuerError, TokenRefusedError
from wan_mcp.auth.issuer import Issuer, IssuerNetwork, list_descriptions
from wan_mcp.auth.jwt_verification import JwtVerifier, is_same_resource
from wan_mcp.http_app import build_issuer_network
from wan_mcp_tools.domain.principals import Scope

AUDIENCE = "https://pictures.example.com/mcp"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer():
    with FakeIssuer() as issuer:
        yield issuer


def verifier(issuer: FakeIssuer, clock: FakeClock, network: IssuerNetwork = PLAIN_NETWORK) -> JwtVerifier:
    known = Issuer(issuer.url, network=network, clock=clock)
    return JwtVerifier(known, audience=AUDIENCE, clock=clock)


async def refusal(checks: JwtVerifier, token: str) -> str:
    with pytest.raises(TokenRefusedError) as error:
        await checks.verify(token)
    assert not any(part and part in str(error.value) for part in token.split("."))
    return str(error.value)


async def test_who_comes_is_the_issuer_with_the_subject_and_has_the_scopes_that_are_ours(issuer, clock):
    claims = issuer.claims(clock.now(), AUDIENCE, scope="openid wan:order wan:cancel wan:everything")

    # The network is as it is in a server.
    principal = await verifier(issuer, clock, build_issuer_network()).verify(issuer.sign(claims))

    assert principal.id == f"{issuer.url}#ada"
    assert principal.scopes == {Scope.ORDER, Scope.CANCEL}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_usual_algorithm_with_a_public_key_is_taken(issuer, clock, algorithm):
    issuer.add_key("other", algorithm)
    claims = issuer.claims(clock.now(), AUDIENCE)

    assert (await verifier(issuer, clock).verify(issuer.sign(claims, "other"))).may(Scope.READ)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": None, "scp": "wan:read email"},
        {"scope": None, "scp": ["wan:read", "email"]},
        {"aud": ["https://other.example.com", AUDIENCE]},
        {"aud": "HTTPS://Pictures.Example.COM:443/mcp"},
        {"exp": 1_800_000_000 - 59},
        {"nbf": 1_800_000_000 + 59},
        {"exp": 1_800_000_000.5},
    ],
)
async def test_what_issuers_write_differently_is_read(issuer, clock, changes):
    claims = issuer.claims(clock.now(), AUDIENCE, **changes)

    assert (await verifier(issuer, clock).verify(issuer.sign(claims))).scopes == {Scope.READ}


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "JWT", None])
async def test_the_types_of_access_tokens_are_taken(issuer, clock, kind):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE), header={"typ": kind})

    assert await verifier(issuer, clock).verify(token)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1_800_000_000 - 60}, "has expired"),
        ({"exp": None}, "has no time in exp"),
        ({"exp": "tomorrow"}, "has no time in exp"),
        ({"exp": True}, "has no time in exp"),
        ({"exp": 10**400}, "has no time in exp"),
        ({"nbf": 1_800_000_000 + 61}, "is not valid yet"),
        ({"nbf": "soon"}, "has no time in nbf"),
        ({"aud": "https://other.example.com/mcp"}, "is for another audience"),
        ({"aud": "https://pictures.example.com"}, "is for another audience"),
        ({"aud": "https://pictures.example.com/mcp/"}, "is for another audience"),
        ({"aud": []}, "is for another audience"),
        ({"aud": None}, "is for another audience"),
        ({"iss": "https://evil.example.com"}, "is of another issuer"),
        ({"iss": None}, "is of another issuer"),
        ({"sub": None}, "names no subject"),
        ({"sub": ""}, "names no subject"),
        ({"sub": "a\u0000b"}, "names no subject"),
        ({"sub": "a" * 256}, "names no subject"),
    ],
)
async def test_a_token_with_claims_that_do_not_hold_is_refused(issuer, clock, changes, reason):
    claims = issuer.claims(clock.now(), AUDIENCE, **changes)

    assert await refusal(verifier(issuer, clock), issuer.sign(claims)) == reason


async def test_a_subject_that_is_no_text_is_refused(issuer, clock):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))

    assert await refusal(verifier(issuer, clock), tampered(token, sub=7)) == "names no subject"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "dpop+jwt"}, "is of another type"),
        ({"typ": "id_token"}, "is of another type"),
        ({"crit": ["exp"], "exp": 1}, "demands what is not known here"),
        ({"kid": "unknown"}, "is signed with a key that the issuer does not name"),
    ],
)
async def test_a_token_with_a_header_that_does_not_fit_is_refused(issuer, clock, header, reason):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE), header=header)

    assert await refusal(verifier(issuer, clock), token) in (reason, "is a JWT that cannot be read")


async def test_a_token_that_nobody_signed_is_refused(issuer, clock):
    claims = issuer.claims(clock.now(), AUDIENCE)

    assert await refusal(verifier(issuer, clock), unsigned(claims)) == "is signed in a way that is not taken"


async def test_a_public_key_is_no_secret_to_sign_with(issuer, clock):
    issuer.add_key("rsa", "RS256")
    public = json.dumps(issuer.jwk("rsa")).encode()
    parts = [
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "rsa"}, issuer.claims(clock.now(), AUDIENCE))
    ]
    signature = urlsafe_b64encode(hmac.digest(public, b".".join(parts), hashlib.sha256)).rstrip(b"=")

    token = b".".join((*parts, signature)).decode()
    assert await refusal(verifier(issuer, clock), token) == "is signed in a way that is not taken"


async def test_a_token_is_refused_when_its_signature_is_another_keys(issuer, clock):
    checks = verifier(issuer, clock)
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))
    await checks.verify(token)
    forged = jwt.encode(
        issuer.claims(clock.now(), AUDIENCE), make_key("ES256"), "ES256", headers={"kid": "first", "typ": "at+jwt"}
    )

    assert await refusal(checks, forged) == "has a signature that does not hold"
    assert await refusal(checks, tampered(token, sub="eve")) == "has a signature that does not hold"
    assert await refusal(checks, token[:-4] + "AAAA") == "has a signature that does not hold"


async def test_a_key_for_another_algorithm_is_not_used(issuer, clock):
    issuer.add_key("rsa", "RS256")
    token = jwt.encode(issuer.claims(clock.now(), AUDIENCE), issuer.keys["rsa"][1], "PS256", headers={"kid": "rsa"})

    assert "does not name" in await refusal(verifier(issuer, clock), token)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "e30.e30.e30", "W10.W10.W10", "é.b.c", "a.b.c.d.e"])
async def test_what_is_no_token_is_refused(issuer, clock, text):
    with pytest.raises(TokenRefusedError):
        await verifier(issuer, clock).verify(text)


async def test_a_token_without_key_id_is_taken_while_the_issuer_has_one_key(issuer, clock):
    token = jwt.encode(issuer.claims(clock.now(), AUDIENCE), issuer.keys["first"][1], "ES256")
    checks = verifier(issuer, clock)

    assert await checks.verify(token)

    issuer.add_key("second", "ES256")
    clock.advance(600)
    assert "does not name" in await refusal(checks, issuer_token_without_id(issuer, clock))


def issuer_token_without_id(issuer: FakeIssuer, clock: FakeClock) -> str:
    return jwt.encode(issuer.claims(clock.now(), AUDIENCE), issuer.keys["first"][1], "ES256")


async def test_a_new_key_is_found_and_the_issuer_is_asked_once_a_minute_at_most(issuer, clock):
    checks = verifier(issuer, clock)
    await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))
    issuer.add_key("second", "RS256")
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE), "second")

    for _ in range(5):
        assert "does not name" in await refusal(checks, token)
    assert issuer.asked == 1
    clock.advance(60)
    assert await checks.verify(token)
    assert issuer.asked == 2
    strange = issuer.sign(issuer.claims(clock.now(), AUDIENCE), header={"kid": "unknown"})
    for _ in range(5):
        assert "does not name" in await refusal(checks, strange)
    assert issuer.asked == 2


async def test_a_key_that_the_issuer_has_withdrawn_is_not_used_for_long(issuer, clock):
    checks = verifier(issuer, clock)
    issuer.add_key("second", "ES256")
    assert await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))
    old = issuer.keys.pop("first")

    clock.advance(600)
    issuer.keys["gone"] = old
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE), "gone", header={"kid": "first"})
    del issuer.keys["gone"]
    assert "does not name" in await refusal(checks, token)


async def test_keys_are_kept_for_a_day_while_the_issuer_is_down_and_then_nobody_is_let_in(issuer, clock):
    checks = verifier(issuer, clock)
    await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))
    issuer.stop()

    clock.advance(24 * 3600 - 1)
    assert await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))
    clock.advance(1)
    with pytest.raises(IssuerError):
        await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))
    issuer.start()
    clock.advance(60)
    assert await checks.verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))


async def test_without_keys_nobody_is_let_in_and_the_issuer_is_asked_again_soon(issuer, clock):
    checks = verifier(issuer, clock)
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))
    issuer.stop()
    for _ in range(3):
        with pytest.raises(IssuerError):
            await checks.verify(token)
    issuer.start()
    with pytest.raises(IssuerError):
        await checks.verify(token)
    clock.advance(5)
    assert await checks.verify(token)


async def test_many_at_once_ask_the_issuer_once(issuer, clock):
    checks = verifier(issuer, clock)
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(checks.verify, token)

    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("path", "described_at"),
    [
        ("", "/.well-known/oauth-authorization-server"),
        ("", "/.well-known/openid-configuration"),
        ("/team", "/.well-known/oauth-authorization-server/team"),
        ("/team", "/.well-known/openid-configuration/team"),
        ("/team", "/team/.well-known/openid-configuration"),
        ("/", "/.well-known/openid-configuration"),
    ],
)
async def test_an_issuer_is_found_wherever_it_describes_itself(clock, path, described_at):
    with FakeIssuer(path, described_at) as issuer:
        assert await verifier(issuer, clock).verify(issuer.sign(issuer.claims(clock.now(), AUDIENCE)))


def test_one_resource_may_be_written_in_different_ways():
    assert is_same_resource("https://pictures.example.com", "HTTPS://pictures.example.com:443/")
    assert not is_same_resource("https://pictures.example.com/mcp", "https://pictures.example.com/mcp/")
    assert not is_same_resource("https://pictures.example.com/mcp", "https://pictures.example.com/MCP")


async def test_of_many_keys_the_first_hundred_count(issuer, clock):
    first = issuer.jwk("first")
    others = [first | {"kid": f"k{number}"} for number in range(2_000)]
    known = Issuer(issuer.url, network=PLAIN_NETWORK, clock=clock)
    check = JwtVerifier(known, audience=AUDIENCE, clock=clock)
    claims = issuer.claims(clock.now(), AUDIENCE)
    issuer.answer = JSONResponse({"keys": [first, *others[:150]]})

    assert await check.verify(issuer.sign(claims))
    assert await check.verify(issuer.sign(claims, header={"kid": "k98"}))
    with pytest.raises(TokenRefusedError, match="does not name"):
        await check.verify(issuer.sign(claims, header={"kid": "k99"}))
    issuer.answer = JSONResponse({"keys": others})
    with pytest.raises(IssuerError, match="more than"):
        await known.fetch_keys()


def test_an_issuer_is_looked_for_at_few_addresses():
    assert list_descriptions("https://login.example.com") == (
        "https://login.example.com/.well-known/oauth-authorization-server",
        "https://login.example.com/.well-known/openid-configuration",
    )


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"issuer": "https://other.example.com"}, "is called https://other.example.com by its own description"),
        ({"issuer": None}, "is called something else"),
        ({"jwks_uri": "http://keys.example.com/keys"}, "names no address of keys"),
        ({"jwks_uri": "file:///etc/passwd"}, "names no address of keys"),
        ({"jwks_uri": "https://user@keys.example.com/"}, "names no address of keys"),
        ({"jwks_uri": None}, "names no address of keys"),
        ({"jwks_uri": "https://keys..example.com/"}, "cannot be reached"),
        ({"jwks_uri": f"https://{'k' * 300}.example.com/"}, "cannot be reached"),
    ],
)
async def test_a_description_that_does_not_hold_is_not_believed(issuer, clock, description, reason):
    issuer.description = description
    known = Issuer(issuer.url, network=PLAIN_NETWORK, clock=clock)

    with pytest.raises(IssuerError, match=reason):
        await known.fetch_keys()
    assert issuer.asked == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": 7}', "<html>", "x" * 300_000, "[" * 200_000])
async def test_keys_that_are_none_are_not_taken(issuer, clock, text):
    issuer.answer = PlainTextResponse(text)
    known = Issuer(issuer.url, network=PLAIN_NETWORK, clock=clock)

    with pytest.raises(IssuerError):
        await known.fetch_keys()


async def test_a_redirect_is_not_followed(issuer, clock):
    issuer.redirect()
    known = Issuer(issuer.url, network=PLAIN_NETWORK, clock=clock)

    with pytest.raises(IssuerError, match="answers 307"):
        await known.fetch_keys()
