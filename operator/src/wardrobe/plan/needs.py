"""What a pod would mount: looked up before the pod is made, so that what is missing is said."""

from dataclasses import dataclass
from typing import Self

from wardrobe.api.meta import Key
from wardrobe.api.reasons import Waiting

LOOK_AGAIN_SECONDS = 15.0
"""Claims and ConfigMaps of users are not watched; a missing one is looked up again this often."""


@dataclass(frozen=True)
class Missing:
    """A need that is not met."""

    reason: Waiting
    message: str


@dataclass(frozen=True)
class Need:
    """An object that must exist, and which field asks for it."""

    kind: str
    name: str
    key: str
    """Of a ConfigMap; empty for claims."""
    field: str
    purpose: str

    @classmethod
    def claim(cls, field: str, name: str, purpose: str) -> Self:
        """A PersistentVolumeClaim."""
        return cls("PersistentVolumeClaim", name, "", field, purpose)

    @classmethod
    def config_map(cls, field: str, name: str, key: str) -> Self:
        """A key of a ConfigMap."""
        return cls("ConfigMap", name, key, field, "it holds the dataset")

    def object(self, namespace: str) -> Key:
        """What to look up."""
        return Key(self.kind, namespace, self.name)

    def missing(self, namespace: str) -> Missing:
        """How its absence is said."""
        if self.kind == "ConfigMap":
            message = (
                f"{self.field} names ConfigMap {self.name!r} with key {self.key!r}, which namespace {namespace!r} "
                f"does not have: {self.purpose}. Create it; the run goes on by itself"
            )
            return Missing(Waiting.CONFIG_MAP_NOT_FOUND, message)
        message = (
            f"{self.field} needs PersistentVolumeClaim {self.name!r}, which namespace {namespace!r} does not have: "
            f"{self.purpose}. Create the claim; work goes on by itself"
        )
        return Missing(Waiting.CLAIM_NOT_FOUND, message)
