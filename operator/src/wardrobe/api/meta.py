"""What all kinds share: names, metadata, conditions, and the base of typed specs."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wardrobe_contracts.base import Digest

GROUP = "wardrobe.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Manifest = dict[str, Any]
"""An object as the API's JSON."""

ConditionStatus = Literal["True", "False", "Unknown"]

# Bounds of specs are the CRDs' and stand in both, so that what one part lets in the other can read; statuses have none
# here, because a status that cannot be read must not stop what it speaks of. `tests/api` compares them.

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""Of a resource that other names are made from."""
Line = Annotated[str, Field(min_length=1, max_length=40)]
"""Of adapters; rules of the CRD say the rest."""
ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
"""Of any object of Kubernetes that a spec names."""
Sha256 = Annotated[Digest, Field(max_length=71)]
SourceText = Annotated[str, Field(min_length=1, max_length=512)]
Seed = Annotated[int, Field(ge=0, le=4294967295)]


@dataclass(frozen=True, order=True)
class Key:
    """A resource by name: what is deleted and made again under its name is the same key."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Key":
        """Of an object in a namespace."""
        return cls(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


class Typed(BaseModel):
    """A part of a resource: camelCase in YAML, snake_case here. The apiserver has validated it already."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Condition(Typed):
    """One condition, as in `metav1.Condition`. lastTransitionTime moves only when status does."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int = 0


class Metadata(Typed):
    """The part of ObjectMeta that decisions use."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    labels: dict[str, str] = {}


class NamedReference(Typed):
    """A reference to a BaseModel in the same namespace."""

    name: Name


class SecretReference(Typed):
    """A reference to a Secret in the same namespace."""

    name: ObjectName


class Status(Typed):
    """What every status has."""

    observed_generation: int | None = None
    conditions: list[Condition] = []

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it was ever set."""
        return next((found for found in self.conditions if found.type == kind), None)

    def to_manifest(self) -> dict[str, Any]:
        """The status as it stands in the API; absent values are left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class Resource(Typed):
    """A custom resource as read from the API."""

    metadata: Metadata
    status: Status = Status()

    @classmethod
    def parse(cls, manifest: dict[str, Any]) -> Self:
        """From the API's JSON. Raises pydantic.ValidationError where the CRD in the cluster is another release's."""
        return cls.model_validate(manifest)
