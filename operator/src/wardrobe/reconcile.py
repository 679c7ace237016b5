"""One reconcile: get, observe, decide, write, and one status at the end. Decisions are in `plan`."""

from collections.abc import Callable
from dataclasses import dataclass

from wardrobe.api import adapter, adapterdeployment, basemodel, finetunejob
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Key, Manifest, Resource, Status
from wardrobe.api.reasons import ConditionType
from wardrobe.kube import observe, observe_serving
from wardrobe.kube.client import Kube, RefusedError
from wardrobe.plan import adapter as adapter_plan
from wardrobe.plan import adapterdeployment as deployment_plan
from wardrobe.plan import basemodel as base_plan
from wardrobe.plan import finetunejob as run_plan
from wardrobe.plan.diff import merge_patch
from wardrobe.plan.events import transition
from wardrobe.plan.plan import Plan
from wardrobe.plan.refusal import refused
from wardrobe.podstates import PodStates
from wardrobe.progress import ProgressPoller
from wardrobe.settings import Settings


@dataclass(frozen=True)
class Reconciler:
    """Carries one resource at a time towards what its spec says. `now` gives the time as the API writes it."""

    kube: Kube
    settings: Settings
    poller: ProgressPoller
    states: PodStates
    now: Callable[[], str]

    async def reconcile(self, key: Key) -> Plan:
        """Read, decide, write. Raises ConflictError (start over), RefusedError or UnavailableError (later)."""
        manifest = await self.kube.get(key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            await self.poller.forget(key)
            return Plan()
        resource = _KINDS[key.kind].parse(manifest)
        plan = await self._decide(resource)
        if plan.progress_url is None:
            await self.poller.forget(key)
        before = manifest.get("status", {})
        try:
            for write in plan.writes:
                await self.kube.write(write)
        except RefusedError as refusal:
            await self._say(key, resource, before, refused(resource, TOP[key.kind], str(refusal), self.now()))
            raise
        if plan.status is not None:
            await self._say(key, resource, before, plan.status)
        if plan.progress_url is not None:
            self.poller.follow(key, plan.progress_url)
        return plan

    async def _decide(self, resource: Resource) -> Plan:
        match resource:
            case BaseModelResource():
                return base_plan.decide(
                    resource, await observe.for_base(self.kube, resource), self.settings, self.now()
                )
            case FineTuneJobResource():
                return await self._decide_run(resource)
            case AdapterResource():
                return adapter_plan.decide(resource, await observe.for_adapter(self.kube, resource), self.now())
            case AdapterDeploymentResource():
                seen = await observe_serving.for_deployment(self.kube, self.states, resource)
                return deployment_plan.decide(resource, seen, self.settings, self.now())
        raise TypeError(f"no decision for {type(resource).__name__}")

    async def _decide_run(self, run: FineTuneJobResource) -> Plan:
        if not run_plan.finished(run):
            return run_plan.decide(run, await observe.for_run(self.kube, run), self.settings, self.now())
        line = await observe.the_line(self.kube, run.metadata.namespace, run.spec.output.adapter)
        return run_plan.tidy(run, line)

    async def _say(self, key: Key, resource: Resource, before: Manifest, after: Status) -> None:
        patch = merge_patch(before, after.to_manifest())
        if not patch:
            return
        await self.kube.patch_status(key, patch, resource.metadata.resource_version)
        old = type(after).model_validate(before)
        if event := transition(key.kind, resource.metadata, old, after, self.now()):
            await self.kube.post_event(event)


TOP = {
    basemodel.KIND: ConditionType.READY,
    finetunejob.KIND: ConditionType.SUCCEEDED,
    adapter.KIND: ConditionType.READY,
    adapterdeployment.KIND: ConditionType.READY,
}
"""The condition that sums a kind up."""

_KINDS: dict[str, type[Resource]] = {
    basemodel.KIND: BaseModelResource,
    finetunejob.KIND: FineTuneJobResource,
    adapter.KIND: AdapterResource,
    adapterdeployment.KIND: AdapterDeploymentResource,
}
