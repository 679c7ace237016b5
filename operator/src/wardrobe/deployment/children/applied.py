"""What an AdapterDeployment is made of beside its pods' Deployments, and the names of all of it."""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Key, Manifest

from . import access, services
from .names import Part, part_name


def access_and_services(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """Rights and Services, which are there before the pods that use them."""
    return [
        *access.service_accounts(deployment),
        *access.roles(deployment),
        *access.bindings(deployment),
        *services.services(deployment),
    ]


def child_keys(deployment: AdapterDeploymentResource) -> list[Key]:
    """All that is applied, the routes left out."""
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    pods = [Key("Deployment", namespace, part_name(name, part)) for part in Part]
    return [
        *(Key(found["kind"], namespace, found["metadata"]["name"]) for found in access_and_services(deployment)),
        *pods,
    ]
