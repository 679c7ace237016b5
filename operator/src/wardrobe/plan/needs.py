"""What a pod would mount: looked up before the pod is made, so that what is missing is said."""

from dataclasses import dataclass
from typing import Self

from wardrobe.api.meta import Key
from wardrobe.api.reasons import Waiting

LOOK_AGAIN_SECONDS = 15.0
"""Claims and ConfigMaps of users are not watched; a missing one is looked up again this often."""


@dataclass(frozen=True)
class Missing:
    """A need that is not met, or what else forbids to make something."""

    reason: Waiting
    message: str

    @classmethod
    def taken(cls, key: Key) -> Self:
        """Another's object has a name that is needed."""
        message = f"{key.kind} {key.name} is not this object's, and has a name that it needs. Delete it or rename it"
        return cls(Waiting.NAME_TAKEN, message)

    @classmethod
    def unreadable(cls, key: Key, error: Exception, mend: str) -> Self:
        """A record that the operator keeps says something that it did not write."""
        problem = f"{type(error).__name__} {error}".splitlines()[0]
        return cls(Waiting.RECORD_UNREADABLE, f"{key.kind} {key.name} cannot be read ({problem}). To go on: {mend}")


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
