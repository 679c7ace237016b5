"""Attempts of a run or of a base, and what their pods would mount: read live, never from an event or a cache."""

from dataclasses import replace

from wardrobe.api import children
from wardrobe.api.meta import Key, Manifest
from wardrobe.kube.client import Kube, UnavailableError
from wardrobe.plan.needs import Missing, Need

from . import queues
from .attempts import Attempts, Owner, see
from .record import Record, read_record, record_name


async def attempts(kube: Kube, owner: Owner, now: str, *, to_stop: bool = False) -> tuple[Attempts, Missing | None]:
    """A run's Jobs and pods, and its record where that may change what is done, as it does where Jobs are to stop.

    Then what forbids to make a Job, if anything does.
    """
    namespace, selector = owner.metadata.namespace, f"{children.RUN_LABEL}={owner.run}"
    jobs = await kube.list("Job", namespace, selector)
    pods = await kube.list("Pod", namespace, selector) if jobs else []
    workloads = await _workloads(kube, namespace, jobs)
    by_jobs = see(owner, jobs, pods, Record(), now, workloads=workloads)
    if by_jobs.waits() and not to_stop:
        return replace(by_jobs, record=by_jobs.known()), None
    key = Key("ConfigMap", namespace, record_name(owner.run))
    record, trouble = _record(owner, key, await kube.get(key))
    if record.marks and not jobs:
        pods = await kube.list("Pod", namespace, selector)
    seen = see(owner, jobs, pods, record, now, workloads=workloads)
    return (replace(seen, record=seen.known()) if trouble else seen), trouble


async def missing(kube: Kube, namespace: str, needs: list[Need]) -> Missing | None:
    """The first need that is not met."""
    for need in needs:
        found = await kube.get(need.object(namespace))
        if found is None or (need.key and need.key not in found.get("data", {}) | found.get("binaryData", {})):
            return need.missing(namespace)
    return None


async def _workloads(kube: Kube, namespace: str, jobs: list[Manifest]) -> list[Manifest]:
    """What Kueue keeps for Jobs that it holds. Only words are taken from it: without Kueue there are none."""
    selectors = [found for job in jobs if (found := queues.selector(job))]
    try:
        return [found for selector in selectors for found in await kube.list("Workload", namespace, selector)]
    except UnavailableError:
        return []


def _record(owner: Owner, key: Key, found: Manifest | None) -> tuple[Record, Missing | None]:
    """The run's record; or an empty one, and why nothing may be written to it."""
    if found is not None and not children.controlled_by(found, owner.metadata.uid):
        return Record(), Missing.taken(key)
    try:
        return read_record(found), None
    except ValueError as error:
        mend = (
            "mend the entry, or delete the ConfigMap while the run's Jobs and pods are there: it is made again from "
            "them, and what only it knew, such as the result of a Job that is gone, is asked for or made again"
        )
        return Record(), Missing.unreadable(key, error, mend)
