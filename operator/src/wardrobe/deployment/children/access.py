"""ServiceAccounts, Roles and bindings: both parts watch the one ConfigMap of their routes, routers also the slices."""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest

from .names import Part, metadata, part_name, routes_name

WATCH = ["get", "list", "watch"]
RBAC = "rbac.authorization.k8s.io"


def service_accounts(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """One for each part; tokens are projected where they are used."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(deployment, part_name(deployment.metadata.name, part)),
            "automountServiceAccountToken": False,
        }
        for part in Part
    ]


def roles(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """Reading the routes, by name; and finding engine pods."""
    routes = routes_name(deployment.metadata.name)
    read_routes = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [routes], "verbs": WATCH}
    find_pods = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": WATCH}
    router = part_name(deployment.metadata.name, Part.ROUTER)
    return [_role(deployment, routes, read_routes), _role(deployment, router, find_pods)]


def bindings(deployment: AdapterDeploymentResource) -> list[Manifest]:
    """Both parts read the routes; only routers look for pods."""
    name = deployment.metadata.name
    return [
        _binding(deployment, routes_name(name), list(Part)),
        _binding(deployment, part_name(name, Part.ROUTER), [Part.ROUTER]),
    ]


def _role(deployment: AdapterDeploymentResource, name: str, rule: Manifest) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": metadata(deployment, name),
        "rules": [rule],
    }


def _binding(deployment: AdapterDeploymentResource, role: str, parts: list[Part]) -> Manifest:
    namespace = deployment.metadata.namespace
    accounts = [part_name(deployment.metadata.name, part) for part in parts]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata(deployment, role),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace} for account in accounts],
    }
