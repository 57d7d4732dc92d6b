"""Each provider's own description of its requests; the adapters' tests hold them, here they judge what was sent.

OpenAI's is not among them: what goes there is the caller's own body, and must be equal to it.
"""

import importlib
import sys
from typing import Any

from shared import ROOT


def check(model: str, body: dict[str, Any]) -> None:
    """Raises where the provider behind the model would refuse the body."""
    match model:
        case "test-anthropic":
            _module("anthropic", "anthropic_requests").check(body)
        case "test-google":
            _module("google", "test_google_request").accepted(body)
        case "test-ollama":
            _module("ollama", "test_ollama_request").VALIDATOR.validate(body)


def _module(provider: str, name: str) -> Any:
    folder = str(ROOT / "tests" / "providers" / provider)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
