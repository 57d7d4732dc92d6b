"""Secrets by reference: `${NAME}` and `env:NAME` from the environment, `file:/path` from a mounted file, `vault:NAME`
from the vault.

`${NAME:-}` is a secret that may be absent: then there is none, and that is no fault.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from ..spec import Secret

MAX_BYTES = 64 * 1024
VAULT = "vault:"

Lookup = Callable[[str], Secret]
"""A secret of the vault by its name. Raises MissingError and LockedError."""
Resolve = Callable[[str], Secret | None]
"""The secret a reference points to; None when it may be absent and is. Raises MissingError and LockedError."""


class MissingError(LookupError):
    """The secret is not there; the text says where it was looked for."""


class LockedError(MissingError):
    """The vault cannot be read: there is no encryption key, or not the right one."""


def resolve(reference: str, environ: Mapping[str, str], vault: Lookup | None = None) -> Secret | None:
    """The secret a reference points to, without surrounding white space; None when it may be absent and is.

    Raises MissingError, and LockedError when the vault is locked.
    """
    if reference.startswith(VAULT):
        if vault is None:
            raise MissingError(f"{reference} is read by a running gateway only")
        return vault(reference.removeprefix(VAULT))
    if reference.startswith("file:"):
        return from_file(Path(reference.removeprefix("file:")))
    optional = reference.endswith(":-}")
    name = reference.removeprefix("env:").removeprefix("${").removesuffix("}").removesuffix(":-")
    text = environ.get(name, "").strip()
    if not text and optional:
        return None
    if not text:
        raise MissingError(f"{name} is not set")
    return Secret(text)


def from_file(path: Path) -> Secret:
    """The text of a file, without surrounding white space. Raises MissingError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8").strip()
    except OSError as fault:
        raise MissingError(f"{path}: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise MissingError(f"{path}: not UTF-8 text") from None
    if not text or len(text) > MAX_BYTES:
        raise MissingError(f"{path}: {'empty' if not text else 'too large'}")
    return Secret(text)
