"""What every pod of ours has: an ordinary user, a read-only root, no privileges."""

from wardrobe.api.finetunejob import PodSettings
from wardrobe.api.meta import Manifest

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_security(user_id: int) -> Manifest:
    """Pod Security `restricted`, and one group for all that touch the store."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user_id,
        "runAsGroup": user_id,
        "fsGroup": user_id,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


GPU = "nvidia.com/gpu"
"""Extended resource by which a pod asks for NVIDIA's GPUs."""


def accelerated(resources: Manifest, resource: str, number: int) -> Manifest:
    """A person's resources and so many accelerators; what they wrote of that kind gives way. None asked: as written."""
    if not number:
        return resources
    requests = {name: amount for name, amount in resources.get("requests", {}).items() if name != resource}
    return {**resources, "requests": requests, "limits": resources.get("limits", {}) | {resource: str(number)}}


def placement(pod: PodSettings) -> Manifest:
    """The person's settings that concern the whole pod; what is empty is left out."""
    found: Manifest = {
        "nodeSelector": pod.node_selector,
        "tolerations": pod.tolerations,
        "imagePullSecrets": [{"name": secret.name} for secret in pod.image_pull_secrets],
        "priorityClassName": pod.priority_class_name,
    }
    return {name: value for name, value in found.items() if value}
