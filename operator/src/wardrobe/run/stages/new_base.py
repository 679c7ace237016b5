"""New base: the BaseModel that method Full ends in. No Job of the run's: its inspection is its own."""

from wardrobe.api import basemodel, children
from wardrobe.api.basemodel import BaseModelResource, BaseModelSpec, ChatTemplateSpec
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import API_VERSION, Manifest
from wardrobe.api.reasons import ConditionType, Done
from wardrobe.base.ready import ReadyBase
from wardrobe.run.seen import Seen
from wardrobe.settings import Settings
from wardrobe.stage.advance import Step
from wardrobe.stage.attempts import Attempts
from wardrobe.writes import Create
from wardrobe_contracts import paths
from wardrobe_contracts.release import Release

from .release import RELEASE
from .stage import Published, RunStep, Wants, Words, usable_base


class NewBase:
    """After the model is in the store."""

    words = Words(ConditionType.PUBLISHED, "publishing", Done.PUBLISHED)
    reports_progress = False

    def is_over(self, run: FineTuneJobResource, attempts: Attempts) -> bool:
        """Never: it is the last."""
        return False

    def wants(self, run: FineTuneJobResource, attempts: Attempts) -> Wants:
        """What it is made after, and whether its name is free, unless the run has said that it published."""
        return Wants(base=attempts.record.made is None, name=attempts.record.made is None)

    def step(self, run: FineTuneJobResource, seen: Seen, settings: Settings) -> RunStep:
        """Create the BaseModel, and record that it was."""
        name, known = run.spec.new_base, seen.attempts.known()
        if known.made:
            return Step(Published(known.made, basemodel.KIND))
        done, record = Published(name, basemodel.KIND), seen.attempts.put(known.published(name))
        source = source_of(name, seen.attempts.found(Release).payload)
        if seen.namesake == source:
            return Step(done, () if seen.missing else record)
        base = usable_base(run, seen, RELEASE.task)
        if not isinstance(base, ReadyBase):
            return Step(base)
        return Step(done, (Create(_manifest(run, source, seen.base)), *record))

    def message(self, attempts: Attempts) -> str:
        """Under which name."""
        return f"published as {attempts.known().made}"


def source_of(name: str, release: Release) -> str:
    """Where the BaseModel's files are: by their digest, so that no other model can be there."""
    return f"pvc://{paths.STORE_CLAIM}/{paths.model_in_store(name, release.digest)}"


def _as_trained(base: BaseModelResource) -> BaseModelSpec:
    """With the day on which the base's chat template was, for it prints the same one on from there."""
    day = base.status.tokenizer and base.status.tokenizer.chat_template_date
    if day is None:
        return base.spec
    written = {**base.spec.chat_template.model_dump(exclude_unset=True), "date": day}
    return base.spec.model_copy(update={"chat_template": ChatTemplateSpec.model_validate(written)})


def _manifest(run: FineTuneJobResource, source: str, base: BaseModelResource | None) -> Manifest:
    """As what it was trained from, but for the source. It has no owner: it outlives the run."""
    spec = _as_trained(base).model_copy(update={"source": source}) if base else BaseModelSpec(source=source)
    return {
        "apiVersion": API_VERSION,
        "kind": basemodel.KIND,
        "metadata": {
            "name": run.spec.new_base,
            "namespace": run.metadata.namespace,
            "labels": {
                children.MANAGED_BY_LABEL: children.MANAGED_BY,
                children.RUN_UID_LABEL: run.metadata.uid,
            },
        },
        "spec": spec.model_dump(by_alias=True, exclude_unset=True, mode="json"),
    }
