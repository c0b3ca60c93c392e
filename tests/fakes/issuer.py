"""An OAuth issuer on a loopback port: its description, its keys, and tokens of every kind."""

import json
from collections.abc import Mapping
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fakes.loopback_server import LoopbackServer
from fakes.serving import NO_CERTIFICATES
from wan_mcp.auth.issuer import IssuerNetwork

PLAIN_NETWORK = IssuerNetwork(make_trust=lambda: NO_CERTIFICATES, find_proxy=lambda *_: None)
"""How an issuer on this machine is reached."""
_WRITERS = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}


def make_key(algorithm: str) -> PrivateKeyTypes:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[algorithm]
        return ec.generate_private_key(curve())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class FakeIssuer:
    """
    Signs tokens and tells its keys; `asked` counts the questions for keys.

    `path` is what its address has beyond the host, `described_at` where it describes itself. What stands in
    `description` replaces what it would say of itself; `answer` takes the place of the keys.
    """

    def __init__(self, path: str = "", described_at: str = "/.well-known/openid-configuration") -> None:
        self._server = LoopbackServer(self._app, [0])
        self._path = path
        self._described_at = described_at
        self.keys: dict[str, tuple[str, PrivateKeyTypes]] = {}
        self.asked = 0
        self.description: dict[str, Any] = {}
        self.answer: Response | None = None

    def __enter__(self) -> Self:
        self.start()
        self.add_key("first", "ES256")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.ports[0]}{self._path}"

    def stop(self) -> None:
        self._server.stop()

    def add_key(self, key_id: str, algorithm: str) -> None:
        self.keys[key_id] = (algorithm, make_key(algorithm))

    def jwk(self, key_id: str) -> dict[str, Any]:
        algorithm, key = self.keys[key_id]
        public = _WRITERS[algorithm[:2]].to_jwk(key.public_key(), as_dict=True)
        return public | {"kid": key_id, "use": "sig", "alg": algorithm}

    def claims(self, now: float, audience: str, **changes: Any) -> dict[str, Any]:
        """Give the claims of a valid token; what is changed to None is left out."""
        claims = {"iss": self.url, "sub": "ada", "aud": audience, "exp": now + 600, "iat": now, "scope": "wan:read"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def sign(
        self, claims: Mapping[str, Any], key_id: str = "first", *, header: Mapping[str, Any] | None = None
    ) -> str:
        algorithm, key = self.keys[key_id]
        return jwt.encode(dict(claims), key, algorithm, headers={"kid": key_id, "typ": "at+jwt"} | dict(header or {}))

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        path = Request(scope).url.path
        response: Response = Response(status_code=404)
        if path == self._described_at:
            told = {"issuer": self.url, "jwks_uri": f"http://127.0.0.1:{self._server.ports[0]}/keys"}
            response = JSONResponse(told | self.description)
        elif path == "/keys":
            self.asked += 1
            response = self.answer or JSONResponse({"keys": [self.jwk(key_id) for key_id in self.keys]})
        elif path == "/elsewhere":
            response = JSONResponse({"keys": [self.jwk(key_id) for key_id in self.keys]})
        await response(scope, receive, send)

    def redirect(self) -> None:
        self.answer = RedirectResponse("/elsewhere")


def unsigned(claims: Mapping[str, Any]) -> str:
    return jwt.encode(dict(claims), None, "none")


def tampered(token: str, **claims: Any) -> str:
    """Change claims of a token and keep its signature."""
    head, body, signature = token.split(".")
    changed = json.loads(jwt.utils.base64url_decode(body)) | claims
    return ".".join((head, jwt.utils.base64url_encode(json.dumps(changed).encode()).decode(), signature))
