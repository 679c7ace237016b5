"""The Job of a stage: what all programs of the trainer image have in common.

One Job is one attempt: restartPolicy Never, backoffLimit 0, and every exit class fails the Job at once (never
Ignore, which would start a second pod in the same attempt). The order travels in the pod's environment: it is made
with the Job and as immutable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from wardrobe_contracts.training import MASTER_PORT, MASTER_VARIABLE, PROGRESS_PORT

from .attempts import job_name
from .stage import Stage

ENVIRONMENT = {
    "HF_HOME": "/tmp/huggingface",  # noqa: S108  the container's own emptyDir
    "HF_HUB_OFFLINE": "1",
    "HOME": "/tmp",  # noqa: S108
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
WITHOUT_BASE: Manifest = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}
"""What a pod asks for that looks at an adapter's files: it loads no base, and weights are mapped, not held."""


@dataclass(frozen=True)
class FromSecret:
    """Environment variables that are entries of a Secret, under the same names."""

    secret: str
    names: tuple[str, ...]
    optional: bool = False
    """Whether the container also starts without them."""

    def variables(self) -> list[Manifest]:
        """As a container lists them."""
        optional = {"optional": True} if self.optional else {}
        return [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": self.secret, "key": name, **optional}}}
            for name in self.names
        ]


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
    pods: int = 1
    """Where there are several, each can be found under its number's name, and is told the first one's."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Small ones, by name, mounted at `paths.CONFIG`."""
    shared_memory_gib: int = 1
    grace_seconds: int = 60
    """From being told to stop until it is killed."""
    credentials: FromSecret | None = None
    """What it is to be known by elsewhere."""
    queue_labels: Mapping[str, str] = field(default_factory=dict)
    """For the queue that lets the Job in, where one is to."""

    @property
    def name(self) -> str:
        """Of the Job and of what stands beside it."""
        return job_name(self.run, self.stage.task, self.number)

    @property
    def labels(self) -> dict[str, str]:
        """Of the Job, its pods, and what stands beside it."""
        return labels.of_owner(self.owner_kind, self.owner) | {
            "app.kubernetes.io/name": "wardrobe-trainer",
            children.RUN_LABEL: self.run,
            children.TASK_LABEL: self.stage.task,
            children.NUMBER_LABEL: str(self.number),
        }


@dataclass(frozen=True)
class Made:
    """An attempt's objects."""

    job: Manifest
    beside: tuple[Manifest, ...] = ()
    """What its pods need before they start."""


def build(job: TaskJob, settings: Settings) -> Made:
    """The manifests of one attempt."""
    spec = {
        "completionMode": "Indexed",
        "completions": job.pods,
        "parallelism": job.pods,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {"metadata": {"labels": job.labels}, "spec": _pod(job, settings)},
    }
    annotations = {children.BASE_DIGEST_ANNOTATION: job.base_digest}
    metadata = {**_metadata(job), "labels": {**job.labels, **job.queue_labels}, "annotations": annotations}
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    return Made(made, (*_config_map(job), *_service(job)))


def _metadata(job: TaskJob) -> Manifest:
    return {
        "name": job.name,
        "namespace": job.owner.namespace,
        "labels": job.labels,
        "ownerReferences": [labels.owner_reference(job.owner_kind, job.owner)],
    }


def _config_map(job: TaskJob) -> list[Manifest]:
    if not job.files:
        return []
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job), "data": dict(job.files)}]


def _service(job: TaskJob) -> list[Manifest]:
    """Gives each pod a name, before it is Ready: none is until all have found each other."""
    if job.pods == 1:
        return []
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": job.name},
        "ports": [{"name": "rendezvous", "port": MASTER_PORT}],
    }
    return [{"apiVersion": "v1", "kind": "Service", "metadata": _metadata(job), "spec": spec}]


def _failure_rules() -> list[Manifest]:
    codes = {"containerName": children.CONTAINER, "operator": "In", "values": [int(code) for code in FAILURE_CODES]}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return [
        {"action": "FailJob", "onExitCodes": codes},
        {"action": "FailJob", "onPodConditions": disrupted},
    ]


def _pod(job: TaskJob, settings: Settings) -> Manifest:
    files = [volumes.config(job.name)] if job.files else []
    mounts = [*job.mounts, *files, *volumes.scratch(job.shared_memory_gib)]
    return {
        **({"subdomain": job.name} if job.pods > 1 else {}),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": job.grace_seconds,
        "securityContext": pod_security(settings.user_id),
        "containers": [_container(job, settings, mounts)],
        "volumes": volumes.pod_volumes(mounts),
        **placement(job.pod),
    }


def _container(job: TaskJob, settings: Settings, mounts: list[Mount]) -> Manifest:
    environment = ENVIRONMENT | {paths.CONFIG_VARIABLE: job.order.model_dump_json(by_alias=True, exclude_none=True)}
    if job.pods > 1:
        environment[MASTER_VARIABLE] = f"{job.name}-0.{job.name}"
    container: Manifest = {
        "name": children.CONTAINER,
        "image": settings.trainer_image,
        "args": [job.stage.task],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            {"name": paths.POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            *(job.credentials.variables() if job.credentials else []),
        ],
        "resources": job.resources,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
    }
    if job.stage.reports_progress:
        container["ports"] = [{"name": children.PROGRESS, "containerPort": PROGRESS_PORT}]
    return container
