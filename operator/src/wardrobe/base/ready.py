"""Whether a BaseModel can be built on, in one wording for all kinds that name one; and what is built on."""

from collections.abc import Hashable
from dataclasses import dataclass

from wardrobe.api import basemodel
from wardrobe.api.basemodel import BaseModelResource, ShapeStatus
from wardrobe.api.meta import Key
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.manifests import volumes
from wardrobe.manifests.volumes import Mount
from wardrobe.plan.needs import Missing, Need
from wardrobe_contracts import paths
from wardrobe_contracts.base import BaseLocation, Digest, Variant
from wardrobe_contracts.manifest import BaseReference


@dataclass(frozen=True)
class ReadyBase:
    """An inspected base. Its source was read once: programs are told where its files are mounted."""

    name: str
    digest: Digest
    location: BaseLocation
    mount: Mount
    variants: list[Variant]
    """Those that its BaseModel names."""
    chat_template_digest: Digest
    shape: ShapeStatus

    @property
    def reference(self) -> BaseReference:
        """As what is made on it names it."""
        return BaseReference(name=self.name, digest=self.digest, chat_template_digest=self.chat_template_digest)


def ready_base(base: BaseModelResource | None, name: str) -> ReadyBase | Missing:
    """The BaseModel that spec.baseModel names, or why it cannot be used now."""
    if base is None:
        message = f"spec.baseModel.name is {name!r}: no such BaseModel in this namespace, or none that this "
        message += f"release of Wardrobe can read. Create it, or see `kubectl describe bm {name}`"
        return Missing(Waiting.BASE_MODEL_NOT_FOUND, message)
    ready, found = base.status.condition(ConditionType.READY), base.status
    inspected = ready is not None and ready.status == "True"
    if inspected and found.digest and found.fingerprint and found.tokenizer and found.shape:
        return ReadyBase(
            name=name,
            digest=found.digest,
            location=BaseLocation(
                folder=paths.BASE,
                fingerprint=found.fingerprint,
                chat_prelude=found.tokenizer.chat_template_prelude or "",
            ),
            mount=volumes.base(base.spec.claim),
            variants=base.spec.variants or [],
            chat_template_digest=found.tokenizer.chat_template_digest,
            shape=found.shape,
        )
    why = "its inspection failed" if ready is not None and ready.status == "False" else "it is not inspected yet"
    message = f"BaseModel {name} is not Ready: {why}; see `kubectl describe bm {name}`"
    return Missing(Waiting.BASE_MODEL_NOT_READY, message)


def readiness(base: BaseModelResource | None) -> Hashable:
    """All that is decided by: whether it is ready, and as what. As `wakeups.readiness_gist` has it of an event."""
    if base is None:
        return None
    ready = base.status.condition(ConditionType.READY)
    return (*([ready.status] if ready else []), base.status.digest, base.status.fingerprint)


def waits_on(base: BaseModelResource | None, name: str, namespace: str) -> dict[Key, Hashable]:
    """What a plan says that was decided by the BaseModel which spec.baseModel names, as it was."""
    return {Key(basemodel.KIND, namespace, name): readiness(base)}


def files_of(base: BaseModelResource) -> Need:
    """The claim that holds its files, which every pod on it mounts."""
    return Need.claim("the BaseModel's spec.source", base.spec.claim.claim, "it holds the model's files")
