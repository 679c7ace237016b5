"""What the decision on a FineTuneJob needs to know, read live: never from an event or a cache."""

from typing import TypeVar

from pydantic import ValidationError

from wardrobe.api import adapter, adapterdeployment, basemodel, finetunejob
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Key, Manifest, Resource
from wardrobe.base.observe import base_model
from wardrobe.kube.client import Kube
from wardrobe.plan.needs import Missing
from wardrobe.plan.unreadable import parse
from wardrobe.stage.attempts import Attempts, Owner
from wardrobe.stage.observe import attempts, missing
from wardrobe_contracts.assessment import Assessment

from .lifecycle import to_stop
from .lines import Line, line_name, read_line
from .published import adapter_name, line_of
from .seen import NOT_ASKED, Existing, Numbering, Seen, is_its_own
from .serving import Serving
from .stages import jobs_of, stage_of
from .stages.check import needs

R = TypeVar("R", bound=Resource)


async def for_run(kube: Kube, run: FineTuneJobResource, now: str) -> Seen:
    """A run's attempts; its base, what the first pod would mount, and the line, where the stage asks for them."""
    namespace = run.metadata.namespace
    owner = Owner(finetunejob.KIND, run.metadata, run.run, jobs_of(run))
    seen, trouble = await attempts(kube, owner, now, to_stop=to_stop(run, now))
    wanted = stage_of(run, seen).wants(run, seen)
    base = await base_model(kube, namespace, run.spec.base_model.name) if wanted.base else None
    namesake = await _source_of(kube, Key(basemodel.KIND, namespace, run.spec.new_base)) if wanted.name else None
    lacking = trouble or await missing(kube, namespace, needs(run, base, seen))
    numbering = await _numbering(kube, run, seen) if wanted.numbering else NOT_ASKED
    serving = await _serving(kube, run) if wanted.serving else Serving()
    return Seen(seen, base, lacking, numbering, namesake, serving)


async def _source_of(kube: Kube, base: Key) -> str | None:
    """As it stands there: whatever else a BaseModel says, and whichever release wrote it, its name is taken."""
    found = await kube.get(base)
    return None if found is None else str(found.get("spec", {}).get("source", ""))


async def _serving(kube: Kube, run: FineTuneJobResource) -> Serving:
    """Of the base's AdapterDeployments, which are few, however many a namespace has; read before a Job is made."""
    namespace, base = run.metadata.namespace, run.spec.base_model.name
    listed = await kube.list(adapterdeployment.KIND, namespace, fields=f"spec.baseModel.name={base}")
    deployments = _readable(AdapterDeploymentResource, listed)
    named = {name for found in deployments for name in found.spec.adapters if line_of(name) == run.spec.line}
    incumbents = [await kube.get(Key(adapter.KIND, namespace, name)) for name in sorted(named)]
    return Serving(
        frozenset(found.spec.quantization for found in deployments),
        tuple(_readable(AdapterResource, [found for found in incumbents if found is not None])),
    )


def _readable(kind: type[R], manifests: list[Manifest]) -> list[R]:
    """What another release has written, and this one cannot read, says so itself."""
    parsed = (parse(kind, manifest) for manifest in manifests)
    return [found for found in parsed if not isinstance(found, str)]


async def _numbering(kube: Kube, run: FineTuneJobResource, seen: Attempts) -> Numbering | Missing:
    line = await the_line(kube, run)
    return line if isinstance(line, Missing) else Numbering(line, await _taken(kube, run, line, seen))


async def the_line(kube: Kube, run: FineTuneJobResource) -> Line | Missing:
    """The line's record, or the beginning of one; or that it cannot be read. Of method Full, one without claims."""
    line = run.spec.output.adapter
    if line is None:
        return Line("")
    key = Key("ConfigMap", run.metadata.namespace, line_name(line))
    try:
        return read_line(line, await kube.get(key))
    except (KeyError, ValueError) as error:
        return Missing.unreadable(key, error, f"mend its entries; next is above all versions of line {line} ever made")


async def _taken(kube: Kube, run: FineTuneJobResource, line: Line, seen: Attempts) -> tuple[Existing, ...]:
    """Adapters of the line that matter to a run's number: all before it has one, then the one under its number.

    All again where that is another's: somebody imported it meanwhile.
    """
    namespace, claim = run.metadata.namespace, line.claims.get(run.metadata.uid)
    if claim is None:
        return await _all_of(kube, namespace, line.name)
    found = await kube.get(Key(adapter.KIND, namespace, adapter_name(line.name, claim)))
    if found is None:
        return ()
    mine = _existing(found)
    if is_its_own(mine.spec, run.metadata.uid, seen.found(Assessment).payload):
        return (mine,)
    return await _all_of(kube, namespace, line.name)


async def _all_of(kube: Kube, namespace: str, line: str) -> tuple[Existing, ...]:
    """All Adapters of the line, imports included."""
    return tuple(map(_existing, await kube.list(adapter.KIND, namespace, fields=f"spec.line={line}")))


def _existing(manifest: Manifest) -> Existing:
    """By its name, which its schema ties to line and version: the rest of it may be of another release of Wardrobe."""
    name = manifest["metadata"]["name"]
    try:
        spec = AdapterResource.parse(manifest).spec
    except ValidationError:
        spec = None
    return Existing(name, int(name.rpartition("-v")[2]), spec)
