"""`kind: registry_override`: figures that win over models.json, its updates and gateway.yaml; kept in git, marked."""

from typing import Annotated, ClassVar

from msgspec import Meta

from ..registry.override import ModelSpec
from ..spec import Name
from .base import PartSpec


class RegistryOverride(PartSpec, frozen=True, kw_only=True, tag="registry_override"):
    """Changes to the registry that no update may take back."""

    name: Annotated[Name, Meta(description="To tell it from others.")] | None = None
    models: Annotated[dict[Name, ModelSpec], Meta(description="As `models:` in gateway.yaml, and stronger.")]

    kind: ClassVar[str] = "registry_override"
