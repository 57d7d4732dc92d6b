"""Adapters by protocol: the one place that knows them all."""

from collections.abc import Mapping

from .anthropic import Anthropic
from .base import Adapter
from .google import Google
from .ollama import Ollama
from .openai import OpenAI

ADAPTERS: Mapping[str, Adapter] = {a.protocol: a for a in (OpenAI(), Anthropic(), Google(), Ollama())}

VENDORS: Mapping[str, str] = {"google": "gcp.gemini"}
"""What OpenTelemetry calls a provider, where that is not its name here."""
