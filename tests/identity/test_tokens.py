"""Judging a token: what is taken, and the matrix of what is not."""

import json
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.issuers import (
    AUDIENCE,
    EC,
    EC384,
    ISSUER,
    OTHER_EC,
    OTHER_RSA,
    RSA,
    SECRET,
    SHORT_RSA,
    SUBJECT,
    claims,
    confused,
    jwk,
    jwks,
    part,
    pem,
    private_pem,
    resigned,
    signed,
    unsigned,
)

from sidecar.identity import jwt as judge
from sidecar.identity.jwks import RemoteKeys, Source
from sidecar.identity.jwt import (
    Fault,
    Issuer,
    KeySet,
    Tokens,
    UnfitKeyError,
    WeakKeyError,
    claim,
    key_set,
    public_key,
    secret_key,
    text,
)
from sidecar.identity.keys import digest
from sidecar.spec import Secret

NOW = 1_800_000_000.0
RSA_KEYS, EC_KEYS = KeySet(public_key(pem(RSA))), KeySet(public_key(pem(EC)))
SECRET_KEYS = KeySet(secret_key(Secret(SECRET)))
SET_KEYS = KeySet(*key_set(jwks(jwk(RSA, "r"), jwk(EC, "e"))))


def tokens(keys: KeySet = RSA_KEYS, *algorithms: str, **more: Any) -> Tokens[str]:
    """One issuer. The holder is the subject."""
    terms: dict[str, Any] = {"leeway": 30.0, "required": ("sub",), "principal": lambda said: text(said.get("sub"))}
    algorithms = algorithms or ("RS256", "ES256", "HS256")
    return Tokens({ISSUER: Issuer(keys, frozenset(algorithms), frozenset({AUDIENCE}), **(terms | more))})


def judged(token: str, issuer: Tokens[str] | None = None, now: float = NOW) -> str:
    return (issuer or tokens()).judge(token, digest(token), now)


@pytest.mark.parametrize(
    ("keys", "token"),
    [
        (RSA_KEYS, signed(claims(NOW))),
        (RSA_KEYS, signed(claims(NOW), kid="any")),  # an issuer with one key may call it what it likes
        (EC_KEYS, signed(claims(NOW), EC)),
        (SECRET_KEYS, signed(claims(NOW), SECRET)),
        (SET_KEYS, signed(claims(NOW), RSA, "r")),
        (SET_KEYS, signed(claims(NOW), EC, "e")),
        (SET_KEYS, signed(claims(NOW), EC)),
        (RSA_KEYS, signed(claims(NOW, aud=["other", AUDIENCE]))),
        (RSA_KEYS, signed(claims(NOW, nbf=None, iat=None))),
        (RSA_KEYS, signed(claims(NOW, exp=NOW + 0.5, iat=NOW + 29.5, nbf=NOW + 29.5))),
        (RSA_KEYS, signed(claims(NOW, exp=int(NOW) - 29))),  # within the leeway
        (RSA_KEYS, signed(claims(NOW, sub=SUBJECT, deep={"a": [{"b": None}]}, number=-(2**63)), typ="at+jwt")),
    ],
)
def test_a_good_token(keys: KeySet, token: str) -> None:
    assert judged(token, tokens(keys)) == SUBJECT


GOOD = claims(NOW)
HEAD, BODY, SIGNATURE = signed(GOOD).split(".")
DEEP: Any = 1
for _ in range(9):
    DEEP = [DEEP]

MATRIX: dict[str, tuple[KeySet, str, Fault]] = {
    # the algorithm
    "none": (RSA_KEYS, unsigned(GOOD, signature="AAAA"), Fault.ALGORITHM),
    "none-shouted": (RSA_KEYS, unsigned(GOOD, "NONE", "AAAA"), Fault.ALGORITHM),
    "none-without-signature": (RSA_KEYS, unsigned(GOOD), Fault.MALFORMED),
    "none-with-the-signature": (RSA_KEYS, unsigned(GOOD, "none", SIGNATURE), Fault.ALGORITHM),
    "no-alg": (RSA_KEYS, resigned({"typ": "JWT"}, GOOD), Fault.MALFORMED),
    "alg-no-text": (RSA_KEYS, resigned({"alg": ["RS256"]}, GOOD), Fault.MALFORMED),
    "alg-in-lower-case": (RSA_KEYS, resigned({"alg": "rs256"}, GOOD), Fault.ALGORITHM),
    "another-rsa": (RSA_KEYS, signed(GOOD, alg="RS512"), Fault.ALGORITHM),
    "pss": (RSA_KEYS, signed(GOOD, alg="PS256"), Fault.ALGORITHM),
    # the key
    "confused": (RSA_KEYS, confused(GOOD, pem(RSA)), Fault.UNKNOWN_KEY),
    "confused-stripped": (RSA_KEYS, confused(GOOD, pem(RSA).strip()), Fault.UNKNOWN_KEY),
    "confused-jwks": (SET_KEYS, confused(GOOD, pem(RSA), kid="r"), Fault.UNKNOWN_KEY),
    "confused-jwk": (SET_KEYS, confused(GOOD, json.dumps(jwk(RSA, "r"))), Fault.UNKNOWN_KEY),
    "confused-empty": (RSA_KEYS, confused(GOOD, ""), Fault.UNKNOWN_KEY),
    "another-rsa-key": (RSA_KEYS, signed(GOOD, OTHER_RSA), Fault.SIGNATURE),
    "another-ec-key": (EC_KEYS, signed(GOOD, OTHER_EC), Fault.SIGNATURE),
    "another-secret": (SECRET_KEYS, signed(GOOD, SECRET[::-1]), Fault.SIGNATURE),
    "the-other-kind": (RSA_KEYS, signed(GOOD, EC), Fault.UNKNOWN_KEY),
    "rsa-for-a-secret": (SECRET_KEYS, signed(GOOD), Fault.UNKNOWN_KEY),
    "unknown-kid": (SET_KEYS, signed(GOOD, RSA, "x"), Fault.UNKNOWN_KEY),
    "kid-of-the-other-kind": (SET_KEYS, signed(GOOD, RSA, "e"), Fault.UNKNOWN_KEY),
    "kid-no-text": (SET_KEYS, resigned({"alg": "RS256", "kid": 1}, GOOD), Fault.MALFORMED),
    "kid-a-path": (SET_KEYS, signed(GOOD, RSA, "../../dev/null"), Fault.UNKNOWN_KEY),
    "its-own-key": (RSA_KEYS, signed(GOOD, OTHER_RSA, jwk=jwk(OTHER_RSA)), Fault.SIGNATURE),
    "its-own-url": (RSA_KEYS, signed(GOOD, OTHER_RSA, jku="https://evil.test/jwks.json"), Fault.SIGNATURE),
    # the signature
    "cut": (RSA_KEYS, f"{HEAD}.{BODY}.{SIGNATURE[:-4]}", Fault.SIGNATURE),
    "changed-claims": (RSA_KEYS, f"{HEAD}.{part(claims(NOW, sub='root'))}.{SIGNATURE}", Fault.SIGNATURE),
    "changed-header": (RSA_KEYS, f"{part({'alg': 'RS256', 'x': 1})}.{BODY}.{SIGNATURE}", Fault.SIGNATURE),
    "ec-zeros": (EC_KEYS, f"{part({'alg': 'ES256'})}.{BODY}.{part(bytes(64))}", Fault.SIGNATURE),
    "ec-short": (EC_KEYS, f"{part({'alg': 'ES256'})}.{BODY}.{part(bytes(63))}", Fault.SIGNATURE),
    "rsa-zeros": (RSA_KEYS, f"{HEAD}.{BODY}.{part(bytes(256))}", Fault.SIGNATURE),
    # whose it is
    "another-issuer": (RSA_KEYS, signed(claims(NOW, iss="https://evil.test/")), Fault.ISSUER),
    "almost-the-issuer": (RSA_KEYS, signed(claims(NOW, iss=ISSUER.rstrip("/"))), Fault.ISSUER),
    "no-issuer": (RSA_KEYS, signed(claims(NOW, iss=None)), Fault.ISSUER),
    "issuers": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, iss=[ISSUER])), Fault.ISSUER),
    "another-audience": (RSA_KEYS, signed(claims(NOW, aud="shop")), Fault.AUDIENCE),
    "longer-audience": (RSA_KEYS, signed(claims(NOW, aud=AUDIENCE + "s")), Fault.AUDIENCE),
    "no-audience": (RSA_KEYS, signed(claims(NOW, aud=None)), Fault.AUDIENCE),
    "empty-audience": (RSA_KEYS, signed(claims(NOW, aud=[])), Fault.AUDIENCE),
    "odd-audience": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, aud=[[AUDIENCE], {}])), Fault.AUDIENCE),
    "audience-a-map": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, aud={AUDIENCE: 1})), Fault.AUDIENCE),
    # when
    "expired": (RSA_KEYS, signed(claims(NOW, exp=int(NOW) - 30)), Fault.EXPIRED),
    "no-end": (RSA_KEYS, signed(claims(NOW, exp=None)), Fault.CLAIMS),
    "end-no-number": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, exp="9999999999")), Fault.MALFORMED),
    "end-true": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, exp=True)), Fault.MALFORMED),
    "end-beyond-numbers": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, exp=10**30)), Fault.MALFORMED),
    "end-infinite": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, exp=inf)), Fault.MALFORMED),
    "not-yet": (RSA_KEYS, signed(claims(NOW, nbf=int(NOW) + 31)), Fault.EARLY),
    "issued-in-the-future": (RSA_KEYS, signed(claims(NOW, iat=int(NOW) + 31)), Fault.EARLY),
    "begin-null": (RSA_KEYS, resigned({"alg": "RS256"}, {**GOOD, "nbf": None}), Fault.MALFORMED),
    "issued-no-number": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, iat="now")), Fault.MALFORMED),
    # what it says
    "no-subject": (RSA_KEYS, signed(claims(NOW, sub=None)), Fault.CLAIMS),
    "odd-subject": (RSA_KEYS, resigned({"alg": "RS256"}, claims(NOW, sub=["a"])), Fault.CLAIMS),
    "subject-with-a-line-break": (RSA_KEYS, signed(claims(NOW, sub="a\nb")), Fault.CLAIMS),
    "subject-with-a-nul": (RSA_KEYS, signed(claims(NOW, sub="a\0b")), Fault.CLAIMS),
    "critical": (RSA_KEYS, signed(GOOD, crit=["exp"], exp=1), Fault.CRITICAL),
    "critical-nothing": (RSA_KEYS, resigned({"alg": "RS256", "crit": []}, GOOD), Fault.CRITICAL),
    "critical-null": (RSA_KEYS, resigned({"alg": "RS256", "crit": None}, GOOD), Fault.CRITICAL),
    "unencoded": (RSA_KEYS, resigned({"alg": "RS256", "b64": False, "crit": ["b64"]}, GOOD), Fault.CRITICAL),
    "deep": (RSA_KEYS, signed(claims(NOW, deep=DEEP)), Fault.MALFORMED),
    "large-number": (RSA_KEYS, signed(claims(NOW, number=2**63)), Fault.MALFORMED),
    # what is no token
    "large": (RSA_KEYS, signed(claims(NOW, text="x" * 10_000)), Fault.TOO_LARGE),
    "dots": (RSA_KEYS, "..", Fault.MALFORMED),
    "letters": (RSA_KEYS, "a.b.c", Fault.MALFORMED),
    "five-parts": (RSA_KEYS, f"{HEAD}.{BODY}.{SIGNATURE}.AAAA.AAAA", Fault.MALFORMED),
    "padded": (RSA_KEYS, f"{HEAD}=.{BODY}.{SIGNATURE}", Fault.MALFORMED),
    "spaces": (RSA_KEYS, f"{HEAD}. {BODY}.{SIGNATURE}", Fault.MALFORMED),
    "standard-base64": (RSA_KEYS, f"{HEAD}.{BODY}.++//", Fault.MALFORMED),
    "line-break": (RSA_KEYS, f"{HEAD}.{BODY}.{SIGNATURE}\n", Fault.MALFORMED),
    "other-digits": (RSA_KEYS, f"{HEAD}.{BODY}.٣٣٣٣", Fault.MALFORMED),
    "header-a-list": (RSA_KEYS, resigned([], GOOD), Fault.MALFORMED),
    "claims-a-list": (RSA_KEYS, resigned({"alg": "RS256"}, [GOOD]), Fault.MALFORMED),
    "claims-no-json": (RSA_KEYS, resigned({"alg": "RS256"}, b"{"), Fault.MALFORMED),
    "claims-no-text": (RSA_KEYS, resigned({"alg": "RS256"}, b'{"iss": "\xff"}'), Fault.MALFORMED),
    "claims-surrogate": (RSA_KEYS, resigned({"alg": "RS256"}, b'{"iss": "\\ud800"}'), Fault.MALFORMED),
    "header-bottomless": (RSA_KEYS, resigned(b'{"alg":"RS256","x":' + b"[" * 5000, GOOD), Fault.MALFORMED),
    "claims-bottomless": (RSA_KEYS, resigned({"alg": "RS256"}, b'{"x":' + b"[" * 5000), Fault.MALFORMED),
}


@pytest.mark.parametrize(("keys", "token", "fault"), MATRIX.values(), ids=MATRIX.keys())
def test_a_bad_token(keys: KeySet, token: str, fault: Fault) -> None:
    issuer = tokens(keys)
    assert judged(token, issuer) is fault
    assert judged(token, issuer) is fault


@pytest.mark.parametrize("allowed", ["RS256", "ES256", "HS256"])
def test_only_the_algorithms_of_the_issuer(allowed: str) -> None:
    keys = KeySet(*RSA_KEYS.keys, *EC_KEYS.keys, *SECRET_KEYS.keys)
    for name, key in (("RS256", RSA), ("ES256", EC), ("HS256", SECRET)):
        wanted = SUBJECT if name == allowed else Fault.ALGORITHM
        assert judged(signed(GOOD, key), tokens(keys, allowed)) == wanted


@given(st.binary(max_size=200), st.binary(max_size=300), st.binary(max_size=100))
def test_garbage_is_a_fault_and_nothing_else(header: bytes, payload: bytes, signature: bytes) -> None:
    assert isinstance(judged(".".join(map(part, (header, payload, signature)))), Fault)


@given(st.text(max_size=300))
def test_any_text_is_a_fault_and_nothing_else(token: str) -> None:
    assert isinstance(judged(token), Fault)


@given(st.integers(0, len(signed(GOOD)) - 2), st.sampled_from("AZaz09-_.=\0é"))
def test_one_changed_character(place: int, char: str) -> None:
    """But for the last: base64 has bits to spare there, and the signature is the same."""
    token = signed(GOOD)
    changed = token[:place] + char + token[place + 1 :]
    assert changed == token or isinstance(judged(changed), Fault)


def test_a_verified_token_is_remembered_for_as_long_as_it_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, token = tokens(), signed(claims(NOW, nbf=int(NOW) - 10))
    assert judged(token, issuer) == SUBJECT
    with monkeypatch.context() as patch:
        patch.setattr(judge, "_parse", None)  # no second look
        assert judged(token, issuer) == SUBJECT
        assert judged(token, issuer, NOW + 629.9) == SUBJECT
    assert judged(token, issuer, NOW + 630) is Fault.EXPIRED
    assert judged(token, issuer) == SUBJECT
    assert judged(token, issuer, NOW - 31) is Fault.EARLY  # the clock was set back


def test_no_more_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "MAX_KNOWN", 3)
    issuer = tokens(SECRET_KEYS)
    for number in range(10):
        assert judged(signed(claims(NOW, sub=f"s{number}"), SECRET), issuer) == f"s{number}"
        assert judged(signed(claims(NOW, sub="first"), SECRET), issuer) == "first"
        assert len(issuer._known) <= 3
    for number in range(10):
        judged(signed(claims(NOW, sub=f"s{number}"), OTHER_RSA), issuer)
    assert len(issuer._known) == 3  # what is refused takes no room


def test_keys_that_go_take_their_tokens_with_them() -> None:
    keys = RemoteKeys(Source("https://login.test/jwks", None, None, 600.0, 3600.0))
    issuer, old, new = tokens(keys), signed(GOOD, RSA, "a"), signed(GOOD, OTHER_RSA, "b")
    assert judged(old, issuer) is Fault.NO_KEYS and not keys.wanted.is_set()
    keys.put(jwks(jwk(RSA, "a")), NOW)
    assert judged(old, issuer) == SUBJECT
    assert judged(new, issuer) is Fault.UNKNOWN_KEY and keys.wanted.is_set()
    keys.put(jwks(jwk(RSA, "a"), jwk(OTHER_RSA, "b")), NOW)
    assert judged(old, issuer) == judged(new, issuer) == SUBJECT
    keys.put(jwks(jwk(OTHER_RSA, "b")), NOW)
    assert judged(old, issuer) is Fault.UNKNOWN_KEY
    assert judged(new, issuer) == SUBJECT
    keys.put(jwks(jwk(RSA, "b")), NOW)  # another key by the old name
    assert judged(new, issuer) is Fault.SIGNATURE


def test_keys_serve_on_for_a_time_and_no_longer() -> None:
    keys = RemoteKeys(Source("https://login.test/jwks", None, None, 600.0, 3600.0))
    keys.put(jwks(jwk(RSA, "a")), NOW)
    issuer, token = tokens(keys), signed(claims(NOW, exp=int(NOW) + 10**6), RSA, "a")
    assert judged(token, issuer, NOW + 4199) == SUBJECT
    assert judged(token, issuer, NOW + 4200) is Fault.NO_KEYS  # hot
    assert judged(token, tokens(keys), NOW + 4200) is Fault.NO_KEYS  # cold
    keys.put(jwks(jwk(RSA, "a")), NOW + 5000)
    assert judged(token, issuer, NOW + 5000) == SUBJECT


def test_without_a_kid_a_few_keys_are_tried_and_not_all() -> None:
    few = KeySet(*key_set(jwks(*(jwk(OTHER_RSA, f"o{n}") for n in range(3)), jwk(RSA, "r"))))
    assert judged(signed(GOOD), tokens(few)) == SUBJECT
    many = KeySet(*key_set(jwks(*(jwk(OTHER_RSA, f"o{n}") for n in range(4)), jwk(RSA, "r"))))
    assert judged(signed(GOOD), tokens(many)) is Fault.SIGNATURE
    assert judged(signed(GOOD, RSA, "r"), tokens(many)) == SUBJECT


def test_what_is_used_of_a_key_set() -> None:
    private = json.loads(jwks(jwk(RSA, "d")))["keys"][0] | {"d": "AAAA", "p": "AQ"}
    body = jwks(
        jwk(RSA, "plain"), jwk(EC, "ec", use="sig", alg="ES256", key_ops=["verify"]), private,
        jwk(RSA, "enc", use="enc"), jwk(RSA, "other", alg="RS512"), jwk(RSA, "sign", key_ops=["sign"]),
        jwk(EC384, "p384"), jwk(SHORT_RSA, "short"), jwk(RSA, "n", n="!"), jwk(EC, "x", x="AAAA"),
        {"kty": "oct", "kid": "oct", "k": part(SECRET.encode())}, {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kid": "no-type"}, {"kty": ["RSA"]}, {"kty": "RSA"}, {"kty": "RSA", "n": "", "e": ""},
    )  # fmt: skip
    assert [(key.kid, key.algorithm) for key in key_set(body)] == [
        ("plain", "RS256"), ("ec", "ES256"), ("d", "RS256"),
    ]  # fmt: skip
    assert len(key_set(jwks(*[jwk(EC, str(n)) for n in range(100)]))) == 64


BAD_SETS = [
    b"",
    b"[]",
    b"{}",
    b'{"keys":{}}',
    b'{"keys":[]}',
    b"<html>",
    b'{"keys":' + b"[" * 9000,
    b'{"keys":[1,"a"]}',
]


@pytest.mark.parametrize("body", [*BAD_SETS, b"\xff", jwks(jwk(SHORT_RSA))])
def test_what_is_no_key_set(body: bytes) -> None:
    with pytest.raises(UnfitKeyError):
        key_set(body)


def test_what_is_no_key() -> None:
    weak: list[Callable[[], Any]] = [lambda: public_key(pem(SHORT_RSA)), lambda: secret_key(Secret("x" * 15))]
    for make in weak:
        with pytest.raises(WeakKeyError):
            make()
    for bad in (private_pem(RSA), pem(EC384), "", "text", json.dumps(jwk(RSA)), SECT163):
        with pytest.raises(UnfitKeyError):
            public_key(bad)
    for bad in (pem(RSA), private_pem(RSA), json.dumps(jwk(RSA))):
        with pytest.raises(UnfitKeyError):
            secret_key(Secret(bad))
    assert SECRET not in repr(secret_key(Secret(SECRET)))


SECT163 = """-----BEGIN PUBLIC KEY-----
MEAwEAYHKoZIzj0CAQYFK4EEAAEDLAAEBR8XJiB/ZjzVREfD5LvC3/xzOYlzATl6
VZPv2xhzg/VkPbScXBEgS0PR
-----END PUBLIC KEY-----"""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("team", "x"),
        ("kubernetes.io.namespace", "prod"),
        ("kubernetes.io.serviceaccount.name", "app"),
        ("https://corp.test/team", "y"),
        ("a.b", 1),
        ("a.c", None),  # the longer name is taken, as a whole
        ("a", {"b": 2, "c": 3}),
        ("team.x", None),
        ("kubernetes.io", {"namespace": "prod", "serviceaccount": {"name": "app"}}),
        ("", None),
        (".", None),
        ("..team", None),
        ("nope", None),
    ],
)
def test_claims_by_path(path: str, value: Any) -> None:
    said = {
        "team": "x",
        "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "app"}},
        "https://corp.test/team": "y",
        "a.b": 1,
        "a": {"b": 2, "c": 3},
    }
    if path == "a.c":
        said |= {"a.c": None}
    assert claim(said, path) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a", "a"), (7, "7"), (True, "true"), (False, "false"), ("", None), (None, None), (1.5, None), ([], None),
        ({}, None), ("a\nb", None), ("a\0", None), ("x" * 256, "x" * 256), ("x" * 257, None), ("é ü", "é ü"),
    ],
)  # fmt: skip
def test_claims_as_names(value: Any, name: str | None) -> None:
    assert text(value) == name
