"""The Job of a stage: what inspect, check, train and assess have in common.

One Job is one attempt: restartPolicy Never, backoffLimit 0, and every exit class fails the Job at once (never
Ignore, which would start a second pod in the same attempt). The order travels in the pod's environment: it is made
with the Job and as immutable.
"""

from dataclasses import dataclass

from wardrobe.api import children
from wardrobe.api.finetunejob import PodSettings
from wardrobe.api.meta import Manifest, Metadata
from wardrobe.manifests import labels, volumes
from wardrobe.manifests.pods import CONTAINER_SECURITY, placement, pod_security
from wardrobe.manifests.volumes import Mount
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.base import Order
from wardrobe_contracts.exits import FAILURE_CODES
from wardrobe_contracts.training import PROGRESS_PORT

from .attempts import job_name
from .stage import Stage

ENVIRONMENT = {
    "HF_HOME": "/tmp/huggingface",  # noqa: S108  the container's own emptyDir
    "HF_HUB_OFFLINE": "1",
    "HOME": "/tmp",  # noqa: S108
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class TaskJob:
    """What differs between stages."""

    stage: Stage
    number: int
    run: str
    owner_kind: str
    owner: Metadata
    base_digest: str
    order: Order
    mounts: list[Mount]
    resources: Manifest
    pod: PodSettings


def build(job: TaskJob, settings: Settings) -> Manifest:
    """The manifest of one attempt."""
    marks = labels.of_owner(job.owner_kind, job.owner) | {
        "app.kubernetes.io/name": "wardrobe-trainer",
        children.RUN_LABEL: job.run,
        children.TASK_LABEL: job.stage.task,
        children.NUMBER_LABEL: str(job.number),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(job.run, job.stage.task, job.number),
            "namespace": job.owner.namespace,
            "labels": marks,
            "annotations": {children.BASE_DIGEST_ANNOTATION: job.base_digest},
            "ownerReferences": [labels.owner_reference(job.owner_kind, job.owner)],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {"metadata": {"labels": marks}, "spec": _pod(job, settings)},
        },
    }


def _failure_rules() -> list[Manifest]:
    codes = {"containerName": children.CONTAINER, "operator": "In", "values": [int(code) for code in FAILURE_CODES]}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return [
        {"action": "FailJob", "onExitCodes": codes},
        {"action": "FailJob", "onPodConditions": disrupted},
    ]


def _pod(job: TaskJob, settings: Settings) -> Manifest:
    mounts = [*job.mounts, *volumes.scratch()]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": pod_security(settings.user_id),
        "containers": [_container(job, settings, mounts)],
        "volumes": volumes.pod_volumes(mounts),
        **placement(job.pod),
    }


def _container(job: TaskJob, settings: Settings, mounts: list[Mount]) -> Manifest:
    environment = ENVIRONMENT | {paths.CONFIG_VARIABLE: job.order.model_dump_json(by_alias=True, exclude_none=True)}
    container: Manifest = {
        "name": children.CONTAINER,
        "image": settings.trainer_image,
        "args": [job.stage.task],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": job.resources,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
    }
    if job.stage.reports_progress:
        container["ports"] = [{"name": children.PROGRESS, "containerPort": PROGRESS_PORT}]
    return container
