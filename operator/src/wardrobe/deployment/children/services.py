"""The Service that clients call, and the headless one by which routers find engine pods."""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import AGENT_PORT, OPS_PORT, OPS_PORT_NAME, REQUESTS_PORT_NAME, ROUTER_PORT

from .names import Part, metadata, part_name, selector

CLIENT_PORT = 80


def services(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """`<name>` for clients, `<name>-engine` for routers."""
    name = deployment.metadata.name
    clients = {
        "selector": selector(deployment, Part.ROUTER),
        "ports": [_port(REQUESTS_PORT_NAME, CLIENT_PORT, ROUTER_PORT)],
    }
    engines = {
        "clusterIP": "None",
        "selector": selector(deployment, Part.ENGINE),
        "ports": [_port(REQUESTS_PORT_NAME, AGENT_PORT, AGENT_PORT), _port(OPS_PORT_NAME, OPS_PORT, OPS_PORT)],
    }
    return [_service(deployment, name, clients), _service(deployment, part_name(name, Part.ENGINE), engines)]


def _port(name: str, port: int, target: int) -> Manifest:
    return {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}


def _service(deployment: AdapterDeploymentResource, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(deployment, name), "spec": spec}
