"""LiteLLM's config.yaml -> ours: gateway.yaml, a folder of policies, and notes on what could not be carried over."""

import json
from typing import Any

from msgspec import Struct

from ..config.document import Document
from ..registry.index import Registry
from .litellm_models import Models, is_name, reference
from .reading import Note, Notes, Section, groups
from .writing import text

MASTER = "LITELLM_MASTER_KEY"
MOST_RATE = 10**11
_STRATEGIES = {
    "simple-shuffle": "balanced",
    "latency-based-routing": "speed",
    "cost-based-routing": "cost",
}
_TELEMETRY = "metrics are at /metrics, one JSON line a request is on standard error"
_STATE = "state is in the process and in SQLite"
_DATABASE = "the ledger is an SQLite file: `database` in gateway.yaml"
ROUTER = {
    **dict.fromkeys(("redis_host", "redis_port", "redis_password", "redis_url", "redis_db"), _STATE),
    **dict.fromkeys(("retry_policy", "allowed_fails_policy"), "write it as `failures` in policies/fallback.yaml"),
    "content_policy_fallbacks": "write `failures: {content_filter: fall_back}` in policies/fallback.yaml",
    "disable_cooldowns": "a breaker cannot be switched off, only its `failures` and `error_rate` raised",
    "enable_tag_filtering": "write rules on `task` or `headers` in a classify policy",
    "routing_strategy_args": "strategies have weights: policies/score.yaml",
}
LIBRARY = {
    **dict.fromkeys(("success_callback", "failure_callback", "callbacks", "service_callbacks"), _TELEMETRY),
    **dict.fromkeys(("set_verbose", "json_logs", "turn_off_message_logging"), "no prompt and no answer is ever logged"),
    "content_policy_fallbacks": ROUTER["content_policy_fallbacks"],
}
GENERAL = {
    **dict.fromkeys(("database_url", "database_connection_pool_limit", "store_model_in_db"), _DATABASE),
    **dict.fromkeys(("alerting", "alerting_threshold", "alert_types"), _TELEMETRY),
    "enable_jwt_auth": "issuers are named under `jwt` in policies/authenticate.yaml",
    "litellm_jwtauth": "issuers are named under `jwt` in policies/authenticate.yaml",
    "max_parallel_requests": "write it as `concurrency` of each provider",
}
_TOP = {"environment_variables": "set them in the environment; values are not copied"}


class Imported(Struct, frozen=True):
    """What comes of it: texts by path, and the notes in the order of the file."""

    files: dict[str, str]
    notes: list[Note]


class _Settings(Struct):
    """What the three blocks of settings say that we can say too."""

    chains: dict[str, list[str]]
    default_chain: list[str]
    aliases: dict[str, str]
    fallback: dict[str, Any]
    cache: dict[str, Any]
    limits: dict[str, Any]
    authenticate: dict[str, Any]
    strategy: str = "balanced"


def convert(document: Document, registry: Registry) -> Imported:
    """Carry over what can be; `registry` is the catalogue that models are looked up in."""
    notes = Notes(document)
    top = Section(notes, (), document.data)
    models = Models(notes, registry)
    for index, entry in enumerate(top.take("model_list", list) or []):
        models.add(index, entry)
    settings = _settings(top, registry, notes)
    top.close(_TOP)
    files = {
        "gateway.yaml": _gateway(models, settings, notes),
        "policies/authenticate.yaml": text(_authenticate(models, settings)),
        "policies/cache.yaml": text({"kind": "cache", **settings.cache}),
        "policies/rate_limit.yaml": text({"kind": "rate_limit", "enabled": False}),
        "policies/fallback.yaml": text(_fallback(models, settings, notes)),
    }
    if models.deployments:
        default = {} if models.open else {"default": {"models": [one.id for one in models.deployments]}}
        files["policies/score.yaml"] = text({"kind": "score", "strategy": settings.strategy, **default})
    if limits := _quota(models, settings, notes):
        files["policies/quota.yaml"] = text({"kind": "quota", "limits": limits})
    found = sorted(notes.found, key=lambda note: (note.line, note.path))
    files["gateway.yaml"] += _listed(document.file, found)
    return Imported({path: _HEAD + content for path, content in files.items()}, found)


def _settings(top: Section, registry: Registry, notes: Notes) -> _Settings:
    """The router's own block wins over the library's, as it does there."""
    library, router, general = (top.inner(name) for name in ("litellm_settings", "router_settings", "general_settings"))
    found = _Settings({}, [], {}, {}, _cache(library), {}, {"anonymous": "loopback"})
    for section in (library, router):
        for name, chain in {**groups(section, "fallbacks")}.items():
            found.chains[name] = chain
        for name, chain in groups(section, "context_window_fallbacks").items():
            section.note("context_window_fallbacks", "there is one chain for all reasons: they come after `fallbacks`")
            found.chains[name] = list(dict.fromkeys([*found.chains.get(name, []), *chain]))
        default = section.take("default_fallbacks", list) or found.default_chain
        found.default_chain = [name for name in default if isinstance(name, str)]
        _plan(section, found.fallback)
    for name, target in (router.take("model_group_alias", dict) or {}).items():
        model = target.get("model") if isinstance(target, dict) else target
        found.aliases[str(name)] = str(model)
    strategy = router.take("routing_strategy", str)
    if strategy is not None and strategy not in _STRATEGIES:
        router.note("routing_strategy", "is not one of ours: `balanced` stands in for it")
    found.strategy = _STRATEGIES.get(strategy or "", "balanced")
    router.take("enable_pre_call_checks", bool)  # always done
    if library.take("drop_params", bool) is False:
        library.note("drop_params", "what a model refuses is always dropped, and named in x-sidecar-warnings")
    _general(general, found)
    for section, reasons in ((library, LIBRARY), (router, ROUTER), (general, GENERAL)):
        section.close(reasons)
    return found


def _cache(library: Section) -> dict[str, Any]:
    params = library.inner("cache_params")
    wanted, kind, ttl = library.take("cache", bool), params.take("type", str), params.number("ttl")
    if not wanted:
        params.close({}, "caching is off")
        return {"enabled": False}
    if kind not in (None, "local"):
        params.note("type", "the cache is in memory, and exact")
    params.close({}, "the cache is in memory, and exact")
    return {} if ttl is None else {"ttl": _seconds(ttl)}


def _plan(section: Section, fallback: dict[str, Any]) -> None:
    """Retries, timeouts and the breaker."""
    timeouts, breaker = fallback.setdefault("timeouts", {}), fallback.setdefault("breaker", {})
    retries = section.take("num_retries", int)
    if retries is not None:
        fallback["retries"] = min(max(retries, 0), 10)
    for name in ("request_timeout", "timeout"):
        if (limit := section.number(name)) is not None:
            timeouts["answer"] = timeouts["total"] = _seconds(limit)
    if (limit := section.number("stream_timeout")) is not None:
        timeouts["first_token"] = _seconds(limit)
    if (fails := section.number("allowed_fails")) is not None:
        breaker["failures"] = _whole(fails, 1000)
    if (cooldown := section.number("cooldown_time")) is not None:
        breaker["cooldown"] = _seconds(cooldown)
        breaker["max_cooldown"] = _seconds(max(cooldown, 300))


def _general(general: Section, found: _Settings) -> None:
    key = general.take("master_key", str)
    if key is None:
        general.note("master_key", "there is none: without a key only programs on this machine may call")
    else:
        secret = reference(key)
        if secret == key:
            secret = f"${{{MASTER}}}"
            general.note("master_key", f"a secret is not copied: put it into the environment as {MASTER}")
        general.note("master_key", "it opens models, no administration, and has at least 16 characters")
        found.authenticate = {"anonymous": "never", "keys": [{"name": "master", "secret": secret}]}
    if (size := general.number("max_request_size_mb")) is not None:
        found.limits["body"] = f"{_whole(size, 10_000)}MB"
    if (size := general.number("max_response_size_mb")) is not None:
        found.limits["answer"] = f"{_whole(size, 10_000)}MB"
    if (running := general.number("global_max_parallel_requests")) is not None:
        found.limits["running"] = _whole(running, 1_000_000)


def _gateway(models: Models, settings: _Settings, notes: Notes) -> str:
    ids = {one.group: one.id for one in reversed(models.deployments)}
    aliases = dict(models.aliases)
    for name, target in settings.aliases.items():
        if target in ids and name not in ids and is_name(name):
            aliases[name] = ids[target]
        else:
            notes.add(("router_settings", "model_group_alias", name), "stands for no model that was carried over")
    entries = {one.id: one.model for one in models.deployments if one.model}
    data: dict[str, Any] = {"kind": "gateway", "listen": {"port": 4000}, "providers": models.providers}
    data |= {"models": entries} if entries else {}
    data |= {"aliases": aliases} if aliases else {}
    data |= {"limits": settings.limits} if settings.limits else {}
    return text({**data, "policies": ["policies"]})


def _authenticate(models: Models, settings: _Settings) -> dict[str, Any]:
    """What is not in `model_list` cannot be asked for there; here a key says so."""
    keys = settings.authenticate.get("keys", [])
    allowed = {} if models.open or not models.deployments else {"models": [one.id for one in models.deployments]}
    data = {"kind": "authenticate", **settings.authenticate}
    return {**data, "keys": [{**key, **allowed} for key in keys]} if keys else data


def _fallback(models: Models, settings: _Settings, notes: Notes) -> dict[str, Any]:
    members: dict[str, list[str]] = {}
    for one in models.deployments:
        members.setdefault(one.group, []).append(one.id)
    named = [*settings.chains, *(to for chain in settings.chains.values() for to in chain), *settings.default_chain]
    for name in named:
        if name not in members and name != "*":
            notes.add(("router_settings",), f"a fallback names `{name}`, which was not carried over")
    chains: dict[str, list[str]] = {}
    for group, ids in members.items():
        after = settings.chains.get(group, settings.chains.get("*", settings.default_chain))
        onward = [id for to in after for id in members.get(to, [])]
        for id in ids:
            chain = list(dict.fromkeys(other for other in [*ids, *onward] if other != id))
            if chain:
                chains[id] = chain
        if len(ids) > 1:
            notes.add(("model_list",), f"the {len(ids)} deployments of `{group}` are tried in order, not at random")
    data: dict[str, Any] = {"kind": "fallback", "alternatives": 0}
    if chains:
        data["chains"] = chains
    return data | {name: value for name, value in settings.fallback.items() if value != {}}


def _quota(models: Models, settings: _Settings, notes: Notes) -> list[dict[str, Any]]:
    """A limit holds for each model that is tried; deployments of one name share the lowest figure."""
    limits: dict[str, dict[str, int]] = {}
    for one in models.deployments:
        for what, rate in one.rates.items():
            rates = limits.setdefault(one.group, {})
            if rates.get(what, rate) != rate:
                notes.add(("model_list",), f"deployments of `{one.group}` differ in {what} a minute: the lowest holds")
            rates[what] = min(rate, rates.get(what, rate))
    found = []
    for group, rates in limits.items():
        names = json.dumps([group, *(name for name, to in settings.aliases.items() if to == group and is_name(name))])
        shown = {what: f"{min(rate, MOST_RATE)}/m" for what, rate in rates.items()}
        found.append({"per": ["model"], **shown, "when": f"model in {names}"})
    return found


def _listed(file: str, notes: list[Note]) -> str:
    if not notes:
        return ""
    lines = [f"#   line {note.line}, {note.path}: {note.reason}" for note in notes]
    return "\n".join(["", f"# Not carried over from {file.rpartition('/')[2]}, or not as it stood:", *lines, ""])


def _seconds(seconds: float) -> str:
    return f"{max(round(seconds, 3), 0.001):g}s" if seconds < 86_400 else "1d"


def _whole(number: float, most: int) -> int:
    return min(max(1, int(number)), most)


_HEAD = "# Written by `sidecar import --from litellm`: yours to edit.\n"
