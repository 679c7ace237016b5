"""The ConfigMap of routes, to and from the contract."""

import pydantic

from wardrobe.api import adapterdeployment
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import ROUTES_KEY, Routes

from .serving_names import metadata, routes_name


def routes_manifest(deployment: AdapterDeploymentResource, routes: Routes) -> Manifest:
    """The ConfigMap as applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, routes_name(deployment.metadata.name)),
        "data": {ROUTES_KEY: routes.model_dump_json(by_alias=True, exclude_none=True, indent=1)},
    }


def routes_owner(manifest: Manifest) -> str | None:
    """uid of the AdapterDeployment that the ConfigMap belongs to; it may be gone already."""
    references = manifest["metadata"].get("ownerReferences", [])
    return next((reference["uid"] for reference in references if reference["kind"] == adapterdeployment.KIND), None)


def read_routes(manifest: Manifest | None) -> Routes | None:
    """The routes in force; None where there are none, or none that can be read (they are then written anew)."""
    if manifest is None:
        return None
    try:
        return Routes.model_validate_json(manifest.get("data", {}).get(ROUTES_KEY, ""))
    except pydantic.ValidationError:
        return None
