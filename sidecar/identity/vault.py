"""The vault's lock: secrets encrypted with Fernet under `SIDECAR_ENCRYPTION_KEY`, each bound to its name.

The variable holds one key or several, with commas or white space between: the first encrypts, all decrypt, so that a
new one can be put before the old. It may say where they are instead: `file:/run/secrets/encryption-key`.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ..spec import Secret
from .secrets import VAULT, LockedError, MissingError, from_file

VARIABLE = "SIDECAR_ENCRYPTION_KEY"
_decode = msgspec.json.Decoder(tuple[str, str]).decode


def new_key() -> str:
    """A new encryption key, as the variable wants it."""
    return Fernet.generate_key().decode()


class Cipher:
    """Encrypts and decrypts secrets by name."""

    def __init__(self, keys: list[Fernet]) -> None:
        self._keys = keys
        self._all = MultiFernet(keys)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Cipher":
        """The cipher of an environment. Raises LockedError."""
        text = environ.get(VARIABLE, "").strip()
        if text.startswith("file:"):
            try:
                text = from_file(Path(text.removeprefix("file:"))).reveal()
            except MissingError as fault:
                raise LockedError(f"{VARIABLE}: {fault}") from None
        keys = text.replace(",", " ").split()
        if not keys:
            raise LockedError(f"{VARIABLE} is not set")
        fernets = []
        for number, key in enumerate(keys, 1):
            try:
                fernets.append(Fernet(key))
            except ValueError:
                which = f": key {number} of {len(keys)}" if len(keys) > 1 else ""
                raise LockedError(f"{VARIABLE}{which} is not a Fernet key") from None
        return cls(fernets)

    def seal(self, name: str, secret: Secret) -> bytes:
        """The secret encrypted with the first key. Its name is inside: in another's place it is not taken."""
        return self._all.encrypt(msgspec.json.encode((name, secret.reveal())))

    def open(self, name: str, sealed: bytes) -> Secret:
        """The secret in what `seal` made of it. Raises LockedError."""
        try:
            inside, text = _decode(self._all.decrypt(sealed))
        except (InvalidToken, msgspec.DecodeError, UnicodeDecodeError):
            raise LockedError(f"{VAULT}{name} cannot be decrypted with {VARIABLE}") from None
        if inside != name:
            raise LockedError(f"{VAULT}{name} holds what was encrypted under another name")
        return Secret(text)

    def place(self, sealed: bytes) -> int | None:
        """Which key it is encrypted with: 0 is the first; None when it is none of them."""
        for place, key in enumerate(self._keys):
            try:
                key.decrypt(sealed)
            except InvalidToken:
                continue
            return place
        return None


class Vault:
    """The vault as it was read: names and ciphertexts. A secret is decrypted when it is asked for. No struct: what
    prints itself would print the environment."""

    __slots__ = ("_environ", "_sealed")

    def __init__(self, sealed: Mapping[str, bytes], environ: Mapping[str, str]) -> None:
        self._sealed = sealed
        self._environ = environ

    def secret(self, name: str) -> Secret:
        """A secret by its name. Raises LockedError without the right encryption key, and MissingError."""
        try:
            cipher = Cipher.of(self._environ)
        except LockedError as fault:
            raise LockedError(f"{VAULT}{name}: {fault}") from None
        if name not in self._sealed:
            raise MissingError(f"{VAULT}{name} is not in the vault")
        return cipher.open(name, self._sealed[name])
