"""One reconcile: get, observe, decide, write, and one status at the end. What differs is in each kind's package."""

from collections.abc import Callable
from dataclasses import dataclass

import wardrobe.adapter.decide
import wardrobe.adapter.observe
import wardrobe.base.decide
import wardrobe.base.observe
import wardrobe.deployment.decide
import wardrobe.deployment.observe
import wardrobe.run.decide
import wardrobe.run.observe
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.kinds import KINDS
from wardrobe.api.meta import Key, Manifest, Resource, Status
from wardrobe.deployment.podstates import States
from wardrobe.kube.client import Kube, RefusedError
from wardrobe.plan.diff import merge_patch
from wardrobe.plan.events import transition
from wardrobe.plan.plan import Plan
from wardrobe.plan.undecided import api_refused
from wardrobe.plan.unreadable import bare, parse, stalled
from wardrobe.run.progress import ProgressPoller
from wardrobe.settings import Settings


@dataclass(frozen=True)
class Reconciler:
    """Carries one resource at a time towards what its spec says. `now` gives the time as the API writes it."""

    kube: Kube
    settings: Settings
    poller: ProgressPoller
    states: States
    now: Callable[[], str]

    async def reconcile(self, key: Key) -> Plan:
        """Read, decide, write. Raises ConflictError (start over), RefusedError or UnavailableError (later)."""
        manifest = await self.kube.get(key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            await self.poller.forget(key)
            return Plan()
        kind = KINDS[key.kind]
        resource = parse(kind.resource, manifest)
        if isinstance(resource, str):
            known = bare(manifest)
            await self._say(key, known, known.status.to_manifest(), stalled(known, kind.top, resource, self.now()))
            return Plan()
        plan = await self._decide(resource)
        if plan.progress_url is None:
            await self.poller.forget(key)
        before = manifest.get("status", {})
        try:
            for write in plan.writes:
                await self.kube.write(write)
        except RefusedError as refusal:
            if isinstance(resource, FineTuneJobResource) and wardrobe.run.decide.finished(resource):
                raise  # what it came to stays said: without that it would be decided on anew
            await self._say(key, resource, before, api_refused(resource, kind.top, str(refusal), self.now()))
            raise
        if plan.status is not None:
            await self._say(key, resource, before, plan.status, plan.told)
        for write in plan.afterwards:
            await self.kube.write(write)
        if plan.progress_url is not None:
            self.poller.follow(key, plan.progress_url)
        return plan

    async def _decide(self, resource: Resource) -> Plan:
        match resource:
            case BaseModelResource():
                return await self._decide_base(resource, self.now())
            case FineTuneJobResource():
                return await self._decide_run(resource, self.now())
            case AdapterResource():
                return await self._decide_adapter(resource, self.now())
            case AdapterDeploymentResource():
                seen = await wardrobe.deployment.observe.for_deployment(self.kube, self.states, resource)
                return wardrobe.deployment.decide.decide(resource, seen, self.settings, self.now())
        raise TypeError(f"no decision for {type(resource).__name__}")

    async def _decide_base(self, base: BaseModelResource, now: str) -> Plan:
        seen = await wardrobe.base.observe.for_base(self.kube, base, now)
        return wardrobe.base.decide.decide(base, seen, self.settings, now)

    async def _decide_adapter(self, found: AdapterResource, now: str) -> Plan:
        seen = await wardrobe.adapter.observe.for_adapter(self.kube, found, now)
        return wardrobe.adapter.decide.decide(found, seen, self.settings, now)

    async def _decide_run(self, run: FineTuneJobResource, now: str) -> Plan:
        if not wardrobe.run.decide.finished(run):
            seen = await wardrobe.run.observe.for_run(self.kube, run, now)
            return wardrobe.run.decide.decide(run, seen, self.settings, now)
        line = await wardrobe.run.observe.the_line(self.kube, run)
        return wardrobe.run.decide.tidy(run, line, now)

    async def _say(self, key: Key, resource: Resource, before: Manifest, after: Status, told: str = "") -> None:
        patch = merge_patch(before, after.to_manifest())
        if not patch:
            return
        await self.kube.patch_status(key, patch, resource.metadata.resource_version)
        if event := transition(key.kind, resource.metadata, resource.status, after, self.now(), told=told):
            await self.kube.post_event(event)
