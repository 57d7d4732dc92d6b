"""Gateway keys: told from a typing error offline, never alike, kept as a hash."""

import re
import string
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.identity.keys import digest, generate, hash_text, well_formed

ALPHABET = string.digits + string.ascii_letters


def test_a_key_has_the_shape_that_secret_scanners_know() -> None:
    for _ in range(50):
        key = generate()
        assert re.fullmatch(r"gw_[0-9A-Za-z]{49}", key)
        assert well_formed(key)


def test_no_two_are_alike() -> None:
    assert len({generate() for _ in range(2000)}) == 2000


@given(place=st.integers(3, 51), char=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(place: int, char: str) -> None:
    key = "gw_" + "0" * 42 + "7"
    key += _check(key)
    assert well_formed(key)
    changed = key[:place] + char + key[place + 1 :]
    assert well_formed(changed) == (changed == key)


def _check(key: str) -> str:
    """The checksum by the definition: CRC-32 of the body in base 62, six digits."""
    from zlib import crc32

    number, digits = crc32(key.removeprefix("gw_").encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        digits = (string.digits + string.ascii_uppercase + string.ascii_lowercase)[rest] + digits
    return digits


@given(st.text(max_size=60))
def test_any_other_text_is_no_key(text: str) -> None:
    assert not well_formed(text) or re.fullmatch(r"gw_[0-9A-Za-z]{49}", text)


@given(st.text(max_size=60))
def test_the_hash_is_plain_sha_256(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape") if not re.search("[\ud800-\udfff]", text) else None
    if data is not None:
        assert digest(text) == sha256(data).digest()
        assert hash_text(text) == f"sha256:{sha256(data).hexdigest()}"


@pytest.mark.parametrize("verb", ["create", "hash"])
def test_the_command_line_shows_a_key_once_and_keeps_its_hash(verb: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sidecar", "keys", "create", "app", "--tenant", "t"]
    made = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    key = made.stdout.strip()
    assert (made.returncode, well_formed(key)) == (0, True)
    assert key not in made.stderr
    assert hash_text(key) in made.stderr
    if verb == "hash":
        command = [sys.executable, "-m", "sidecar", "keys", "hash"]
        hashed = subprocess.run(command, input=key, capture_output=True, text=True)
        assert hashed.stdout.strip() == hash_text(key)
        wrong = subprocess.run(command, input=key[:-1], capture_output=True, text=True)
        assert "checksum" in wrong.stderr
        assert subprocess.run(command, input="\n", capture_output=True, text=True).returncode == 2
