"""The ConfigMap of routes, to and from the contract."""

import pydantic

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import Routes, in_config_map, to_config_map

from .names import metadata, routes_name


def routes_manifest(deployment: AdapterDeploymentResource, routes: Routes) -> Manifest:
    """The ConfigMap as applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, routes_name(deployment.metadata.name)),
        "data": to_config_map(routes),
    }


def read_routes(manifest: Manifest | None) -> Routes | None:
    """The routes in force; None where there are none, or none that can be read (they are then written anew)."""
    if manifest is None:
        return None
    try:
        return Routes.model_validate_json(in_config_map(manifest.get("data", {})) or "")
    except pydantic.ValidationError:
        return None
