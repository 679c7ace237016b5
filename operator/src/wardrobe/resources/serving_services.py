"""The Service that clients call, and the headless one by which routers find engine pods."""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import AGENT_PORT, ROUTER_PORT

from .serving_names import Part, metadata, part_name, selector

CLIENT_PORT = 80


def services(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """`<name>` for clients, `<name>-engine` for routers."""
    name = deployment.metadata.name
    clients = {
        "selector": selector(deployment, Part.ROUTER),
        "ports": [{"name": "http", "port": CLIENT_PORT, "targetPort": ROUTER_PORT, "protocol": "TCP"}],
    }
    engines = {
        "clusterIP": "None",
        "selector": selector(deployment, Part.ENGINE),
        "ports": [{"name": "http", "port": AGENT_PORT, "targetPort": AGENT_PORT, "protocol": "TCP"}],
    }
    return [_service(deployment, name, clients), _service(deployment, part_name(name, Part.ENGINE), engines)]


def _service(deployment: AdapterDeploymentResource, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(deployment, name), "spec": spec}
