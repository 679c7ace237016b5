"""The engine's Deployment: the agent is the main container, the engine a native sidecar beside it.

The kubelet stops main containers before sidecars, so the agent drains while the engine lives. Only the agent has a
token; only the engine has the base; the agent's folder of verified adapters is what both share.
"""

from wardrobe import engines
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.manifests.pods import CONTAINER_SECURITY, placement, pod_security
from wardrobe.manifests.volumes import Mount
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.routes import AGENT_PORT

from . import pods as serving_pods
from .names import Part, part_name, routes_name

AGENT = "agent"
"""Name of its container."""
AGENT_RESOURCES: Manifest = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}


def engine_deployment(deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings) -> Manifest:
    """`<name>-engine`."""
    spec = deployment.spec
    agent_mounts = [volumes.store(), _cache(read_only=False), serving_pods.token(), volumes.temporary("agent-tmp")]
    engine_mounts = [
        base.mount,
        _cache(read_only=True),
        *volumes.scratch(),
    ]
    pod = {
        "serviceAccountName": part_name(deployment.metadata.name, Part.ENGINE),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving_pods.GRACE_SECONDS,
        "securityContext": pod_security(settings.user_id),
        "initContainers": [_engine(deployment, base, settings, engine_mounts)],
        "containers": [_agent(deployment, settings, agent_mounts)],
        "volumes": volumes.pod_volumes([*agent_mounts, *engine_mounts]),
        **placement(spec.engine.pod),
    }
    return serving_pods.deployment_frame(deployment, Part.ENGINE, spec.replicas, pod)


def _engine(
    deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings, mounts: list[Mount]
) -> Manifest:
    spec = deployment.spec
    return {
        **engines.container(spec, base.location, settings),
        **serving_pods.LAST_WORDS,
        "name": "engine",
        "restartPolicy": "Always",
        "resources": spec.engine.pod.resources,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
    }


def _agent(deployment: AdapterDeploymentResource, settings: Settings, mounts: list[Mount]) -> Manifest:
    routes = routes_name(deployment.metadata.name)
    return {
        "name": AGENT,
        "image": settings.gateway_image,
        "command": ["wardrobe-agent"],
        "args": [
            *serving_pods.identity(deployment, routes),
            *("--store", paths.STORE, "--cache", paths.CACHE, "--engine", deployment.spec.engine.type.value),
            *("--quantization", deployment.spec.quantization.value),
        ],
        "ports": serving_pods.ports(AGENT_PORT),
        "resources": AGENT_RESOURCES,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
        **serving_pods.LAST_WORDS,
        **serving_pods.probes(),
    }


def _cache(*, read_only: bool) -> Mount:
    """Adapters that the agent has verified."""
    return Mount({"name": "cache", "emptyDir": {}}, paths.CACHE, read_only=read_only)
