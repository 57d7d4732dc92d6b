"""Where spans are sent, as gateway.yaml says it, or else OpenTelemetry's environment variables. Part of the open step.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from collections.abc import Mapping
from urllib.parse import unquote

from msgspec import Struct

from .. import __version__
from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..gateway import Gateway
from ..identity.secrets import MissingError, Resolve
from ..link import Linked
from ..spec import Secret
from ..telemetry import names

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


class Collector(Struct, frozen=True):
    """An OTLP/HTTP endpoint, the headers it wants, and how this gateway is called there."""

    url: str
    headers: Mapping[str, Secret]
    resource: Mapping[str, str]


def collector(
    gateway: Linked[Gateway], read: Resolve, environ: Mapping[str, str]
) -> tuple[Collector | None, list[Diagnostic]]:
    """The collector, None when nobody names one; and which secrets of its headers are not there."""
    spec = gateway.spec.tracing
    if not spec.enabled or (spec.endpoint is None and environ.get("OTEL_SDK_DISABLED", "").lower() == "true"):
        return None, []
    resource = _resource(spec.resource, environ)
    if spec.endpoint is None:
        url = _endpoint(environ)
        return (Collector(url, _headers(environ), resource) if url else None), []
    headers: dict[str, Secret] = {}
    findings: list[Diagnostic] = []
    for name, reference in spec.headers.items():
        try:
            secret = read(reference)
        except MissingError as fault:
            message = f"tracing header `{name}`: {fault}"
            findings.append(gateway.finding(("tracing", "headers", name), Code.UNSET_SECRET, message))
            continue
        if secret is not None:
            headers[name] = secret
    return Collector(spec.endpoint, headers, resource), findings


def _resource(written: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    resource = {names.SERVICE_NAME: "sidecar", names.SERVICE_VERSION: __version__}
    resource |= _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if environ.get("OTEL_SERVICE_NAME"):
        resource[names.SERVICE_NAME] = environ["OTEL_SERVICE_NAME"]
    return {**resource, **written}


def _endpoint(environ: Mapping[str, str]) -> str:
    """What the environment names, unless it wants spans sent in a way that is not ours."""
    if "grpc" in (environ.get(name) for name in _PROTOCOLS):
        return ""
    whole, base = environ.get(_TRACES_ENDPOINT, ""), environ.get(_ENDPOINT, "")
    return whole or (f"{base.rstrip('/')}/v1/traces" if base else "")


def _headers(environ: Mapping[str, str]) -> dict[str, Secret]:
    written = next((text for name in _HEADERS if (text := environ.get(name))), "")
    return {name: Secret(value) for name, value in _pairs(written).items()}


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, percent-encoded. What is no pair is left out."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {unquote(name.strip()): unquote(value.strip()) for name, equals, value in pairs if equals and name.strip()}
