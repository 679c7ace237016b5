"""Names, labels and metadata of an AdapterDeployment's children."""

from enum import StrEnum

from wardrobe.api import adapterdeployment, children
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe.manifests import labels


class Part(StrEnum):
    """The two kinds of pods."""

    ENGINE = "engine"
    ROUTER = "router"


def part_name(deployment: str, part: Part) -> str:
    """Of the part's Deployment, ServiceAccount and (engine) headless Service."""
    return f"{deployment}-{part}"


def routes_name(deployment: str) -> str:
    """Of the ConfigMap with the routes, and of the Role that lets it be read."""
    return f"{deployment}-routes"


def selector(deployment: AdapterDeploymentResource, part: Part) -> dict[str, str]:
    """Labels by which a part's pods are selected; they never change."""
    return {children.OWNER_LABEL: deployment.metadata.name, children.PART_LABEL: part}


def metadata(deployment: AdapterDeploymentResource, name: str, more: dict[str, str] | None = None) -> Manifest:
    """Of an owned child."""
    return {
        "name": name,
        "namespace": deployment.metadata.namespace,
        "labels": labels.of_owner(adapterdeployment.KIND, deployment.metadata) | (more or {}),
        "ownerReferences": [labels.owner_reference(adapterdeployment.KIND, deployment.metadata)],
    }
