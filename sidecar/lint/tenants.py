"""What one tenant may see of another's."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..stages.authenticate import Authenticate
from ..stages.cache import Cache
from .context import LintContext, warning


def shared_caches(context: LintContext) -> Iterator[Diagnostic]:
    """A cache that answers one tenant with what another asked for. With a single tenant there is no other."""
    tenants = {tenant for linked in context.of(Authenticate) for tenant in _tenants(linked.spec)}
    for linked in context.of(Cache):
        if linked.spec.share == "all" and len(tenants) > 1:
            message = "`share: all` answers one tenant with what another one asked for"
            help_ = "write `tenant`, unless all tenants may see each other's answers"
            yield warning(linked, ("share",), Code.SHARED_CACHE, message, help_)


def _tenants(spec: Authenticate) -> Iterator[str]:
    """The tenants there can be; a claim stands for many."""
    yield from (key.tenant for key in spec.keys)
    if spec.anonymous != "never":
        yield spec.anonymous_tenant
    for issuer in spec.jwt:
        yield from ("default",) if issuer.tenant is None else (f"claim {issuer.tenant}", "another of the kind")
