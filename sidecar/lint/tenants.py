"""What one tenant may see of another's."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..stages.cache import Cache
from .context import LintContext, warning


def shared_caches(context: LintContext) -> Iterator[Diagnostic]:
    """A cache that answers one tenant with what another asked for. Keys can be made while the gateway runs, so that
    there is one tenant only cannot be told from the policy."""
    for linked in context.of(Cache):
        if linked.spec.share == "all":
            message = "`share: all` answers one tenant with what another one asked for"
            help_ = "write `tenant`, unless all tenants may see each other's answers"
            yield warning(linked, ("share",), Code.SHARED_CACHE, message, help_)
