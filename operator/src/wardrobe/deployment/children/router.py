"""The routers' Deployment. Keys are projected from the departments' Secrets, which the operator never reads.

A Secret may be missing: its department is refused until it is there, the others are not touched.
"""

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe.manifests import volumes
from wardrobe.manifests.pods import CONTAINER_SECURITY, placement, pod_security
from wardrobe.manifests.volumes import Mount
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.routes import KEYS_FILE, ROUTER_PORT

from . import pods as serving_pods
from .names import Part, part_name, routes_name

RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Where spec.router.pod.resources is empty. What a router holds of requests at once is bounded well below the limit."""


def router_deployment(deployment: AdapterDeploymentResource, settings: Settings) -> Manifest:
    """`<name>-router`."""
    router = deployment.spec.router
    memory = Mount({"name": "memory", "emptyDir": {}}, paths.MEMORY, read_only=False)
    mounts = [_keys(deployment), memory, serving_pods.token(), *volumes.scratch()]
    pod = {
        "serviceAccountName": part_name(deployment.metadata.name, Part.ROUTER),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving_pods.GRACE_SECONDS,
        "securityContext": pod_security(settings.user_id),
        "containers": [_router(deployment, settings, mounts)],
        "volumes": volumes.pod_volumes(mounts),
        **placement(router.pod),
    }
    return serving_pods.deployment_frame(deployment, Part.ROUTER, router.replicas, pod)


def _router(deployment: AdapterDeploymentResource, settings: Settings, mounts: list[Mount]) -> Manifest:
    name = deployment.metadata.name
    return {
        "name": "router",
        "image": settings.gateway_image,
        "command": ["wardrobe-router"],
        "args": [
            *serving_pods.identity(deployment, routes_name(name)),
            *("--service", part_name(name, Part.ENGINE), "--keys", paths.KEYS, "--memory", paths.MEMORY),
        ],
        "ports": serving_pods.ports(ROUTER_PORT),
        "resources": deployment.spec.router.pod.resources or RESOURCES,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
        **serving_pods.LAST_WORDS,
        **serving_pods.probes(),
    }


def _keys(deployment: AdapterDeploymentResource) -> Mount:
    """`<department>/keys` for each department that has a Secret."""
    sources = [
        {
            "secret": {
                "name": department.keys.secret_name,
                "optional": True,
                "items": [{"key": KEYS_FILE, "path": f"{name}/{KEYS_FILE}"}],
            }
        }
        for name, department in sorted(deployment.spec.departments.items())
        if department.keys is not None
    ]
    return Mount({"name": "keys", "projected": {"sources": sources}}, paths.KEYS)
