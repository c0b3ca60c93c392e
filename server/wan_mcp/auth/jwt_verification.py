"""
The check of an issuer's token (JWT). This module is imported late, for it loads the library of cryptography.

Sources: https://www.rfc-editor.org/rfc/rfc9068, https://www.rfc-editor.org/rfc/rfc8725 and
https://www.rfc-editor.org/rfc/rfc7519
"""

import json
import math
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import jwt

from wan_mcp.auth.errors import TokenRefusedError
from wan_mcp.auth.issuer import Issuer, Jwk
from wan_mcp.clock import Clock
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp_tools.domain.principals import Principal, Scope, SignIn

LEEWAY = 60.0
"""Seconds by which the issuer's clock may differ from this one."""
_KEY_TYPES = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}
"""The algorithms that are taken, all of them with a public key, and the type of key that each has."""
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_OTHER_NAMES = {"Ed25519": "EdDSA"}
_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
_LEAST_RSA_BITS = 2048
_LONGEST_SUBJECT = 255
_PARTS = 3


class JwtVerifier:
    """Checks the tokens of one issuer that are meant for one audience."""

    def __init__(self, issuer: Issuer, *, audience: str, clock: Clock) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=list(_KEY_TYPES))

    async def verify(self, token: str) -> Principal:
        """
        Check a token, and give who comes with it.

        Raises:
            TokenRefusedError: it is not valid here.
            IssuerError: that cannot be found out, because the issuer's keys are not to be had.
        """
        header, claims = _read(token)
        algorithm = _check_header(header)
        principal = self._check_claims(claims)
        key_id = header.get("kid")
        keys = await self._issuer.find_keys(key_id if isinstance(key_id, str) else None)
        fitting = [key for key in keys if _fits(key, algorithm)]
        if len(fitting) != 1:
            raise TokenRefusedError("is signed with a key that the issuer does not name")
        try:
            key = jwt.PyJWK(dict(fitting[0]), algorithm)
            if getattr(key.key, "key_size", _LEAST_RSA_BITS) < _LEAST_RSA_BITS and _KEY_TYPES[algorithm] == "RSA":
                raise TokenRefusedError("is signed with a key that is too short")
            self._jws.decode(token, key, algorithms=[algorithm])
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenRefusedError("has a signature that does not hold") from error
        return principal

    def _check_claims(self, claims: Mapping[str, Any]) -> Principal:
        if claims.get("iss") != self._issuer.url:
            raise TokenRefusedError("is of another issuer")
        audiences: object = claims.get("aud")
        listed = cast("list[object]", audiences) if isinstance(audiences, list) else [audiences]
        if not any(isinstance(each, str) and is_same_resource(each, self._audience) for each in listed):
            raise TokenRefusedError("is for another audience")
        now = self._clock.now()
        ends_at = _read_time(claims, "exp")
        if now - LEEWAY >= ends_at:
            raise TokenRefusedError("has expired")
        if "nbf" in claims and now + LEEWAY < _read_time(claims, "nbf"):
            raise TokenRefusedError("is not valid yet")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise TokenRefusedError("names no subject")
        # The address of an issuer has no "#": whatever follows the first one is the subject.
        return Principal(f"{self._issuer.url}#{subject}", _read_scopes(claims), SignIn(ends_at=ends_at))


def is_same_resource(one: str, other: str) -> bool:
    """Tell whether two names of a resource are one; scheme and host of an address may be in any letters."""
    return one == other or _normalize(one) == _normalize(other)


def _normalize(text: str) -> object:
    try:
        parts = urlsplit(text)
        port = parts.port or USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return text
    if parts.scheme not in USUAL_PORTS or parts.hostname is None or parts.username is not None:
        return text
    return parts.scheme, parts.hostname, port, parts.path or "/", parts.query, parts.fragment


def _read(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read header and claims, neither of which is to be believed yet."""
    if token.count(".") != _PARTS - 1:
        raise TokenRefusedError("is none that is known, and no JWT")
    try:
        found = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})
        header: object = found["header"]
        claims: object = json.loads(found["payload"])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenRefusedError("is a JWT that cannot be read") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenRefusedError("is a JWT that cannot be read")
    return cast("Mapping[str, Any]", header), cast("Mapping[str, Any]", claims)


def _check_header(header: Mapping[str, Any]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _KEY_TYPES:
        raise TokenRefusedError("is signed in a way that is not taken")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefusedError("is of another type")
    if "crit" in header:
        raise TokenRefusedError("demands what is not known here")
    return algorithm


def _fits(key: Jwk, algorithm: str) -> bool:
    named: object = key.get("alg", algorithm)
    operations: object = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == _KEY_TYPES[algorithm]
        and _OTHER_NAMES.get(str(named), named) == algorithm
        and key.get("crv") == _CURVES.get(algorithm)
        and isinstance(operations, list)
        and "verify" in operations
    )


def _read_time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefusedError(f"has no time in {name}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise TokenRefusedError(f"has no time in {name}")
    return seconds


def _read_scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Read the scopes that are ours; an issuer may grant others for other resources."""
    found: object = claims.get("scope", claims.get("scp"))
    words: list[object] = []
    if isinstance(found, str):
        words = list(found.split())
    elif isinstance(found, list):
        words = cast("list[object]", found)
    return frozenset(scope for scope in Scope if scope.value in words)
