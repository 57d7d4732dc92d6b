"""Issuers for tests: their keys, the tokens they sign, and tokens that nobody should take."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE, SUBJECT = "https://login.test/", "gateway", "alice@corp.test"
SECRET = "a-shared-secret-of-32-bytes-or-more!"
RSA, OTHER_RSA, SHORT_RSA = (rsa.generate_private_key(65537, size) for size in (2048, 2048, 1024))
EC, OTHER_EC, EC384 = (ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP256R1(), ec.SECP384R1()))
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | str


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """The public half."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key: rsa.RSAPrivateKey) -> str:
    no = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no).decode()


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half as an entry of a key set."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    found: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)  # type: ignore[arg-type]
    return {**found, **({} if kid is None else {"kid": kid}), **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(now: float, **more: Any) -> dict[str, Any]:
    """What a good token says; a value of None takes the claim out."""
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": int(now), "nbf": int(now), "exp": int(now) + 600}
    return {name: value for name, value in (said | more).items() if value is not None}


def signed(said: dict[str, Any], key: Private = RSA, kid: str | None = None, **header: Any) -> str:
    """A token with the algorithm of its key, or that of `alg`."""
    usual = {str: "HS256", rsa.RSAPrivateKey: "RS256"}
    algorithm = next((name for kind, name in usual.items() if isinstance(key, kind)), "ES256")
    headers = {**header, **({} if kid is None else {"kid": kid})}
    return jwt.encode(said, key, algorithm=headers.pop("alg", algorithm), headers=headers)


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def confused(said: dict[str, Any], public: str, **header: Any) -> str:
    """HS256 with the text of a public key as its secret: libraries that let the token choose take it."""
    message = f"{part({'typ': 'JWT', 'alg': 'HS256', **header})}.{part(said)}"
    return f"{message}.{part(hmac.new(public.encode(), message.encode(), hashlib.sha256).digest())}"


def unsigned(said: dict[str, Any], alg: str = "none", signature: str = "") -> str:
    return f"{part({'typ': 'JWT', 'alg': alg})}.{part(said)}.{signature}"


def resigned(header: Any, payload: Any) -> str:
    """Any bytes as header and payload, truly signed with RSA."""
    message = f"{part(header)}.{part(payload)}"
    algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
    return f"{message}.{part(algorithm.sign(message.encode(), RSA))}"
