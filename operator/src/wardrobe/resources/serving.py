"""What an AdapterDeployment is made of, all at once: the operator applies what differs."""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings

from . import engine_deployment, router_deployment, serving_access, serving_services


def serving_manifests(
    deployment: AdapterDeploymentResource, base: BaseModelResource, settings: Settings
) -> list[Manifest]:
    """In the order in which they are applied: rights and names before the pods that use them."""
    return [
        *serving_access.service_accounts(deployment),
        *serving_access.roles(deployment),
        *serving_access.bindings(deployment),
        *serving_services.services(deployment),
        engine_deployment.engine_deployment(deployment, base, settings),
        router_deployment.router_deployment(deployment, settings),
    ]
