"""Key sets by URL: fetched in time, again when a key is missing, never too often, and from nobody else."""

import asyncio
import datetime
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from house import eventually, http, looped
from identity.issuers import EC, OTHER_RSA, RSA, jwk, jwks, private_pem

from sidecar.identity import jwks as fetching
from sidecar.identity.jwks import RemoteKeys, RemoteKeySets, Source
from sidecar.identity.secrets import resolve

KEYS = jwks(jwk(RSA, "a"))


@dataclass
class Issuer:
    """Serves a key set, or whatever `answer` holds; None is silence. `asked` are the requests' heads."""

    url: str = ""
    answer: bytes | None = b""
    asked: list[str] = field(default_factory=list)

    def publish(self, body: bytes) -> None:
        self.answer = http(200, body, "content-type: application/json")


@asynccontextmanager
async def issuer(body: bytes = KEYS, tls: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    served = Issuer()
    served.publish(body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            served.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if served.answer is None:
                await asyncio.sleep(60)
            writer.write(served.answer or b"")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    served.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    try:
        yield served
    finally:
        server.close()


class Said(list[str]):
    """What was logged of key sets."""

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.append(f"{level} {fields['problem']}")


@asynccontextmanager
async def fetched(
    source: Source, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[RemoteKeys, Said, RemoteKeySets]]:
    sets, said = RemoteKeySets(), Said()
    keys = sets.get(source)
    sets.use([keys])
    task = asyncio.create_task(sets.run(lambda reference: resolve(reference, environ or {}), said))
    try:
        yield keys, said, sets
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task
        assert [t for t in asyncio.all_tasks() if "_keep" in repr(t)] == []


def source(url: str, refresh: float = 600.0, **more: Any) -> Source:
    return Source(url, more.get("ca"), more.get("token"), refresh, more.get("grace", 3600.0))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.05)


def names(keys: RemoteKeys) -> list[str | None]:
    return [key.kid for key in keys.keys]


@looped
async def test_keys_come_once_and_stay() -> None:
    async with issuer() as up, fetched(source(up.url)) as (keys, said, _):
        assert keys.until == 0.0
        await eventually(lambda: names(keys) == ["a"])
        assert keys.until == pytest.approx(time.time() + 4200, abs=5)
        await asyncio.sleep(0.2)
        assert len(up.asked) == 1 and said == []
        assert "authorization" not in up.asked[0].lower()


@looped
async def test_a_key_that_is_missed_is_fetched_at_once_but_not_for_each_who_asks() -> None:
    async with issuer() as up, fetched(source(up.url)) as (keys, _, _):
        await eventually(lambda: names(keys) == ["a"])
        up.publish(jwks(jwk(OTHER_RSA, "b")))
        keys.ask()
        await eventually(lambda: names(keys) == ["b"])
        assert keys.version == 2
        begun, before = time.monotonic(), len(up.asked)
        while time.monotonic() < begun + 0.5:
            keys.ask()
            await asyncio.sleep(0.001)
        assert 1 <= len(up.asked) - before <= 13
        assert keys.version == 2  # the same set again is no other


@looped
async def test_keys_are_fetched_again_in_time() -> None:
    async with issuer() as up, fetched(source(up.url, 0.1)) as (keys, _, _):
        await eventually(lambda: names(keys) == ["a"])
        up.publish(jwks(jwk(EC, "c")))
        await eventually(lambda: names(keys) == ["c"])


LARGE = b"x" * (fetching.MAX_BYTES + 1)
BROKEN = {
    "error": (http(500, b"no"), "it answered 500"),
    "redirect": (http(302, b"", "location: https://evil.test/jwks"), "it answered 302"),
    "moved": (http(308, b"", "location: /here"), "it answered 308"),
    "page": (http(200, b"<html>"), "it is not a JSON Web Key Set"),
    "empty": (http(200, jwks()), "no key in it can verify RS256 or ES256"),
    "large": (http(200, LARGE), "it is larger than 262,144 bytes"),
    "endless": (b"HTTP/1.1 200 OK\r\n\r\n" + LARGE * 4, "it is larger than 262,144 bytes"),
    "no-http": (b"220 smtp\r\n\r\n", "it cannot be reached: RemoteProtocolError"),
    "nothing": (b"", "it cannot be reached: RemoteProtocolError"),
    "cut": (http(200, KEYS)[:-9], "it cannot be reached: RemoteProtocolError"),
    "silence": (None, "no answer within 0.5 s"),
}


@pytest.mark.parametrize(("answer", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_told_once_and_the_old_keys_serve_on(
    answer: bytes | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @looped
    async def test() -> None:
        async with issuer() as up, fetched(source(up.url, 0.05)) as (keys, said, _):
            await eventually(lambda: names(keys) == ["a"])
            up.answer = answer
            if answer is None:
                monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
            await eventually(lambda: said)
            until = keys.until
            await eventually(lambda: len(up.asked) > 4)
            assert said == [f"warning {problem}"]
            assert (names(keys), keys.until) == (["a"], until)
            up.publish(KEYS)
            await eventually(lambda: len(said) == 2)
            assert said[1] == "info mended" and keys.until > until

    test()


@looped
async def test_nobody_there() -> None:
    async with fetched(source("http://127.0.0.1:1/jwks")) as (keys, said, _):
        await eventually(lambda: said)
        assert said == ["warning it cannot be reached: ConnectError"] and keys.until == 0.0


@looped
async def test_what_the_policy_no_longer_names_is_left_alone() -> None:
    async with issuer() as one, issuer() as two, fetched(source(one.url, 0.05)) as (keys, _, sets):
        await eventually(lambda: names(keys) == ["a"])
        other = sets.get(source(two.url))
        assert sets.get(source(two.url)) is other and sets.get(keys.source) is keys
        sets.use([other])
        await eventually(lambda: names(other) == ["a"])
        await asyncio.sleep(0.1)
        before = len(one.asked)
        await asyncio.sleep(0.3)
        assert len(one.asked) == before
        sets.use([])
        assert sets.get(keys.source) is not keys


def authority(folder: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself, and a server that has it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    day = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
        .serial_number(1).not_valid_before(day - datetime.timedelta(1)).not_valid_after(day + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(RSA, hashes.SHA256())
    )  # fmt: skip
    ca, key = folder / "ca.crt", folder / "tls.key"
    ca.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_text(private_pem(RSA))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    return str(ca), context


@looped
async def test_as_in_a_cluster_with_its_own_ca_and_a_token_that_is_renewed(tmp_path: Path) -> None:
    ca, tls = authority(tmp_path)
    token = tmp_path / "token"
    token.write_text("first-token\n")
    async with issuer(tls=tls) as up:
        async with fetched(source(up.url)) as (_, said, _):
            await eventually(lambda: said)
            assert said == ["warning it cannot be reached: ConnectError"] and up.asked == []
        async with fetched(source(up.url, 0.05, ca=f"file:{ca}", token=f"file:{token}")) as (keys, said, _):
            await eventually(lambda: names(keys) == ["a"])
            assert "authorization: Bearer first-token\r\n" in up.asked[0]
            token.write_text("second-token\n")
            await eventually(lambda: "Bearer second-token" in up.asked[-1])
            token.unlink()
            await eventually(lambda: said)
            assert said == [f"warning {token}: No such file or directory"]
        for no_certificate in ("text", "é"):
            async with fetched(source(up.url, ca="${CA}"), {"CA": no_certificate}) as (_, said, _):
                await eventually(lambda: said)
                assert said == ["warning the CA is not a certificate in PEM form"]


@looped
async def test_a_token_that_no_header_can_hold() -> None:
    async with issuer() as up:
        for token in ("é", "a\nb"):
            async with fetched(source(up.url, token="${TOKEN}"), {"TOKEN": token}) as (keys, said, _):
                await eventually(lambda: said)
                assert said[0].startswith("warning ") and token not in said[0] and keys.until == 0.0
