"""`model_list` of LiteLLM: each deployment becomes a model at a provider."""

import re
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ..registry.index import Model, Registry
from .reading import Notes, Section

PREFIXES: dict[str, tuple[str, str | None, str | None]] = {
    "openai": ("openai", None, "OPENAI_API_KEY"),
    "anthropic": ("anthropic", None, "ANTHROPIC_API_KEY"),
    "gemini": ("google", None, "GEMINI_API_KEY"),
    "ollama": ("ollama", None, None),
    "ollama_chat": ("ollama", None, None),
    "cerebras": ("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepseek": ("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": ("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "groq": ("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": ("openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "nvidia_nim": ("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "openrouter": ("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": ("openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "together_ai": ("openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": ("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "custom_openai": ("openai", "", None),
    "hosted_vllm": ("openai", "", None),
    "litellm_proxy": ("openai", "", None),
    "lm_studio": ("openai", "", None),
    "openai_like": ("openai", "", None),
}
"""Prefix of a model -> the protocol we speak there, its base URL (None: the protocol's own; empty: it must be written),
and the variable its key is in when none is written."""
OWN = {"openai": "openai", "anthropic": "anthropic", "gemini": "google", "ollama": "ollama", "ollama_chat": "ollama"}
"""Prefixes whose models the registry knows, and what it calls their provider."""
CHAT = frozenset({"chat", "completion", "responses"})
OTHER = {
    "embedding": re.compile("embed"),
    "image_generation": re.compile("dall-e|image"),
    "audio_transcription": re.compile("whisper|transcribe"),
    "audio_speech": re.compile(r"\btts\b"),
    "moderation": re.compile("moderation"),
    "rerank": re.compile("rerank"),
}
"""What a model is for by its name, where its entry does not say: LiteLLM asks its own catalogue then."""
KEYLESS = frozenset({"", "none", "null"})
CONTEXT, MAX_OUTPUT = 128_000, 4096
MOST_PRICE = 1000
"""US dollars per million tokens."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_URL = re.compile(r"https?://[^\s]{1,2000}")
_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_ADDED = "sidecar adds no parameters to a request: send it from the app"
_ONE_PLAN = "timeouts are one set for all models: policies/fallback.yaml"
PARAMS = {
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "seed", "stop", "n", "extra_body", "user"), _ADDED),
    **dict.fromkeys(("timeout", "stream_timeout"), _ONE_PLAN),
    **dict.fromkeys(("num_retries", "max_retries"), "retries are one figure for all models: policies/fallback.yaml"),
    **dict.fromkeys(("weight", "order"), "deployments of one name are tried in the order they are written"),
    **dict.fromkeys(("extra_headers", "headers", "organization"), "write it under `headers` of the provider"),
    "max_parallel_requests": "write it as `concurrency` of the provider",
    "drop_params": "what a model refuses is always dropped, and named in x-sidecar-warnings",
}
INFO = {
    **dict.fromkeys(("id", "version", "description"), "names only; the model's name is its id"),
    **dict.fromkeys(("supports_function_calling", "supports_vision"), "write it under `capabilities` of the model"),
}


class Deployment(Struct):
    """One entry of `model_list`. `model` is what gateway.yaml says of it, empty when the registry says it all."""

    group: str
    id: str
    model: dict[str, Any]
    rates: dict[str, int]


class Models:
    """Collects deployments and the providers they are at."""

    def __init__(self, notes: Notes, registry: Registry) -> None:
        self._notes = notes
        self._registry = registry
        self._named: dict[tuple[str, str | None, str | None], str] = {}
        self.providers: dict[str, dict[str, Any]] = {}
        self.deployments: list[Deployment] = []
        self.aliases: dict[str, str] = {}
        self.open = False

    def add(self, index: int, entry: object) -> None:
        """One entry of the list."""
        section = Section(self._notes, ("model_list", index), entry)
        params, info = section.inner("litellm_params"), section.inner("model_info")
        group, model = section.take("model_name", str) or "", params.take("model", str) or ""
        mode = info.take("mode", str) or next((mode for mode, name in OTHER.items() if name.search(model)), "chat")
        why = self._unfit(group, model, mode)
        if why is not None:
            section.note("model_name", f"the whole entry is left out: {why}")
            return
        prefix, upstream = self._split(model)
        provider = self._provider(prefix, params)
        if provider is None:
            section.note("model_name", f"the whole entry is left out: `{prefix}` needs an `api_base`")
            return
        if "*" in model:
            self.open = True
            if group not in ("*", model):
                section.note("model_name", "names with a pattern are not translated: callers name the model itself")
        else:
            self._deployment(group, (prefix, upstream, provider), params, info)
        section.close({})
        params.close(PARAMS)
        info.close(INFO)

    def _unfit(self, group: str, model: str, mode: str) -> str | None:
        if mode not in CHAT:
            return f"`{mode}` is not served, only chat"
        prefix, upstream = self._split(model)
        if prefix not in PREFIXES:
            return f"there is no protocol for `{prefix}`" if prefix else "it does not say which provider has the model"
        if "*" in model and upstream != "*":
            return "a pattern of models cannot be carried over"
        for name in () if "*" in model else (group, upstream):
            if not _NAME.fullmatch(name):
                return "a name has characters that ours cannot have"
        return None

    def _split(self, model: str) -> tuple[str, str]:
        """Prefix and the provider's own name; without a prefix the registry tells."""
        prefix, slash, upstream = model.partition("/")
        if slash:
            return prefix, upstream
        found = self._registry.find(model)
        if found is None:
            return ("openai" if re.match(r"gpt-|o\d|chatgpt-", model) else ""), model
        return next((prefix for prefix, provider in OWN.items() if provider == found.provider), ""), model

    def _provider(self, prefix: str, params: Section) -> str | None:
        """The name of the provider this deployment is at; None when nobody says where that is."""
        protocol, usual, variable = PREFIXES[prefix]
        base = self._base(prefix, params)
        if base is not None and usual is not None and base.rstrip("/") == usual:
            base = None
        if usual == "" and base is None:
            return None
        written = params.take("api_key", str)
        key = (OWN.get(prefix, prefix), base, written)
        if key in self._named:
            return self._named[key]
        # Under a registry provider's own name its models would be sent there: another address has another name.
        wanted = key[0] if base is None or protocol == "ollama" else _host(base) or f"{prefix}-custom"
        name, number = wanted, 1
        while name in self.providers:
            number += 1
            name = f"{wanted}-{number}"
        self._named[key] = name
        spec: dict[str, Any] = {"protocol": protocol}
        if base or usual:
            spec["base_url"] = base or usual
        if (secret := self._secret(name, written, variable if base is None else None, params)) is not None:
            spec["api_key"] = secret
        self.providers[name] = spec
        return name

    def _base(self, prefix: str, params: Section) -> str | None:
        """The address that is written. What comes with a password, or a key in its query, is not copied."""
        name = "api_base"
        base = params.take(name, str)
        if base is None:
            name = "base_url"
            base = params.take(name, str)
        if base is None or (base := reference(base)).startswith("${"):
            return base
        if not _URL.fullmatch(base):
            params.note(name, "is not a URL")
            return None
        if "@" in base or "?" in base:
            variable = f"{_upper(prefix)}_BASE_URL"
            params.note(name, f"may hold a secret and is not copied: put it into the environment as {variable}")
            return f"${{{variable}}}"
        return base

    def _secret(self, name: str, written: str | None, variable: str | None, params: Section) -> str | None:
        if written is None:
            return variable and f"${{{variable}}}"
        if written.lower() in KEYLESS:
            return None
        if (found := reference(written)) != written:
            return found
        own = f"{_upper(name)}_API_KEY"
        params.note("api_key", f"a secret is not copied: put it into the environment as {own}")
        return f"${{{own}}}"

    def _deployment(self, group: str, at: tuple[str, str, str], params: Section, info: Section) -> None:
        prefix, upstream, provider = at
        base = info.take("base_model", str)
        known = self._registry.find(base or upstream) if base or prefix in OWN else None
        if known is not None and not base and known.provider != OWN[prefix]:
            known = None
        id = self._id(group, known)
        model = self._model(id, at, known, info, group)
        if (price := _price(params, info)) is not None:
            model = {"provider": provider, **model, "price": price}
        rates = {what: params.number(field) for what, field in (("requests", "rpm"), ("tokens", "tpm"))}
        found = {what: max(1, int(rate)) for what, rate in rates.items() if rate is not None}
        self.deployments.append(Deployment(group, id, model, found))

    def _id(self, group: str, known: Model | None) -> str:
        """What the deployment is called: the group's name, numbered from the second on."""
        taken = {deployment.id for deployment in self.deployments}
        if group not in {deployment.group for deployment in self.deployments}:
            other = self._registry.find(group)
            if group not in taken and (other is None or other.id == group):
                return group
            if other is not None and known is other and other.id not in taken:
                return other.id  # the registry knows that it goes by this name too
        number = 1 + (group in taken)
        while f"{group}-{number}" in taken or self._registry.find(f"{group}-{number}") is not None:
            number += 1
        if group not in taken:
            self.aliases.setdefault(group, f"{group}-{number}")
        return f"{group}-{number}"

    def _model(
        self, id: str, at: tuple[str, str, str], known: Model | None, info: Section, group: str
    ) -> dict[str, Any]:
        """The entry under `models`. Figures come from the registry where it has them, else from `model_info`."""
        _, upstream, provider = at
        sizes = {
            "context": info.number("max_input_tokens", "max_tokens"),
            "max_output": info.number("max_output_tokens"),
        }
        figures = {name: min(max(256, int(size)), 10_000_000) for name, size in sizes.items() if size is not None}
        if "max_output" in figures:
            figures["max_output"] = min(figures["max_output"], figures.get("context", CONTEXT))
        if known is not None and known.id == id and known.upstream == upstream:
            return {"provider": provider, **figures} if figures or known.provider != provider else {}
        model: dict[str, Any] = {"provider": provider}
        if upstream != id or known is not None:
            model["upstream"] = upstream
        if known is not None:
            return model if known.id == id else {**model, "like": known.id, **figures}
        if len(figures) < 2:
            info.note("max_tokens", f"the size of `{group}` is not known: look at `context` and `max_output`")
        return {**model, "context": CONTEXT, "max_output": MAX_OUTPUT, "capabilities": "all", **figures}


def is_name(name: str) -> bool:
    """Whether a model, or an alias, may have this name with us."""
    return _NAME.fullmatch(name) is not None


def _upper(name: str) -> str:
    """A part of a variable's name."""
    upper = re.sub("[^A-Z0-9]", "_", name.upper())
    return upper if upper[0].isalpha() else f"PROVIDER_{upper}"


def _price(params: Section, info: Section) -> dict[str, float] | None:
    """US dollars per million tokens; None unless both sides have one. `model_info` wins."""
    price: dict[str, float] = {}
    for side in ("input", "output"):
        for section in (params, info):
            cost = section.take(f"{side}_cost_per_token", float)
            if cost is not None and not 0 <= cost * 1e6 <= MOST_PRICE:
                section.note(f"{side}_cost_per_token", "is no US dollars a token")
            elif cost is not None:
                price[side] = cost * 1e6
    return price if len(price) == 2 else None


def reference(value: str) -> str:
    """A reference to the environment as we write it; other texts as they are."""
    found = _VARIABLE.fullmatch(value.strip())
    return value if found is None else f"${{{found[1]}}}"


def _host(base: str) -> str | None:
    try:
        parts = urlsplit(base)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not _NAME.fullmatch(host):
        return None
    return host if port is None else f"{host}-{port}"
