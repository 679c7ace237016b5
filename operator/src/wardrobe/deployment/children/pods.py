"""What engine pods and router pods share: their Deployment's frame, probes, and the token of the API."""

from enum import Enum

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe.manifests.volumes import Mount
from wardrobe_contracts.routes import OPS_PORT, OPS_PORT_NAME, REQUESTS_PORT_NAME
from wardrobe_contracts.state import HEALTH_PATH, READY_PATH

from .names import Part, metadata, part_name, selector

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a folder
GRACE_SECONDS = 90
"""Lingering while the pod's address is still known, and draining, of the gateway's defaults (5 and 60 s)."""

LAST_WORDS: Manifest = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""What a container wrote last is in its pod's status, and from there in the condition."""


class Replacing(Enum):
    """How the pods of a Deployment give way to others."""

    ADD_FIRST = {"maxSurge": 1, "maxUnavailable": 0}
    IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}


def deployment_frame(
    deployment: AdapterDeploymentResource,
    part: Part,
    replicas: int,
    pod: Manifest,
    how: Replacing = Replacing.ADD_FIRST,
) -> Manifest:
    """A Deployment."""
    marks = selector(deployment, part)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployment, part_name(deployment.metadata.name, part)),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": marks},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": how.value},
            "template": {"metadata": {"labels": metadata(deployment, "", marks)["labels"]}, "spec": pod},
        },
    }


def token() -> Mount:
    """The pod's own token, for the one container that talks to the API."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return Mount({"name": "token", "projected": {"sources": sources}}, TOKEN_FOLDER)


def ports(requests: int) -> list[Manifest]:
    """Of either part; their names are what Services and the PodMonitor know."""
    return [
        {"name": REQUESTS_PORT_NAME, "containerPort": requests},
        {"name": OPS_PORT_NAME, "containerPort": OPS_PORT},
    ]


def probes() -> Manifest:
    """Ready by the process's own word, asked every second; alive unless it hangs."""
    return {
        "readinessProbe": {"httpGet": {"path": READY_PATH, "port": OPS_PORT}, "periodSeconds": 1, "timeoutSeconds": 2},
        "livenessProbe": {
            "httpGet": {"path": HEALTH_PATH, "port": OPS_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }


def identity(deployment: AdapterDeploymentResource, routes: str) -> list[str]:
    """Arguments of both parts: whose they are."""
    metadata = deployment.metadata
    return ["--deployment", metadata.name, "--namespace", metadata.namespace, "--routes", routes]
