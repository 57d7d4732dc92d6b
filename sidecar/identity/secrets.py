"""Secrets by reference: `${NAME}` and `env:NAME` from the environment, `file:/path` from a mounted file.

`${NAME:-}` is a secret that may be absent: then there is none, and that is no fault.
"""

from collections.abc import Mapping
from pathlib import Path

from ..spec import Secret

MAX_BYTES = 64 * 1024


class MissingError(LookupError):
    """The secret is not there; the text says where it was looked for."""


def resolve(reference: str, environ: Mapping[str, str]) -> Secret | None:
    """The secret a reference points to, without surrounding white space; None when it may be absent and is.

    Raises MissingError.
    """
    if reference.startswith("file:"):
        return _from_file(Path(reference.removeprefix("file:")))
    optional = reference.endswith(":-}")
    name = reference.removeprefix("env:").removeprefix("${").removesuffix("}").removesuffix(":-")
    text = environ.get(name, "").strip()
    if not text and optional:
        return None
    if not text:
        raise MissingError(f"{name} is not set")
    return Secret(text)


def _from_file(path: Path) -> Secret:
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
