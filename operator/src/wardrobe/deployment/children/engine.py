"""The engine's Deployment: the agent is the main container, the engine a native sidecar beside it, under the wrapper.

The kubelet stops main containers before sidecars, so the agent drains while the engine lives. Only the agent has a
token; only the engine has the base; the agent's folder of verified adapters is what both share.
"""

from wardrobe import engines
from wardrobe.api.adapterdeployment import AdapterDeploymentResource, EngineSpec
from wardrobe.api.meta import Manifest
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.manifests.pods import CONTAINER_SECURITY, GPU, accelerated, placement, pod_security
from wardrobe.manifests.volumes import Mount
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.engines import ENGINES, Precision
from wardrobe_contracts.routes import AGENT_PORT

from . import pods as serving_pods
from .names import Part, part_name, routes_name
from .pods import Replacing

AGENT = "agent"
"""Name of its container."""
GPU_PART = "nvidia.com/mig-"
"""How resources begin that are a slice of an NVIDIA GPU."""
WRAPPER, BASE_CHECK = "wrapper", "base"
"""Names of those that end before the engine starts."""
AGENT_RESOURCES: Manifest = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}


def engine_deployment(
    deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings, how: Replacing = Replacing.ADD_FIRST
) -> Manifest:
    """`<name>-engine`."""
    spec = deployment.spec
    agent_mounts = [
        *(volumes.store(), _cache(read_only=False), _control(), serving_pods.token(), volumes.temporary("agent-tmp"))
    ]
    engine_mounts = [base.mount, _cache(read_only=True), _control(), *volumes.scratch()]
    pod = {
        "serviceAccountName": part_name(deployment.metadata.name, Part.ENGINE),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving_pods.GRACE_SECONDS,
        "securityContext": pod_security(settings.user_id),
        "initContainers": [
            _before(WRAPPER, ["wardrobe-wrapper", paths.CONTROL], [_control()], settings),
            *_base_check(deployment, base, settings),
            _engine(deployment, base, settings, engine_mounts),
        ],
        "containers": [_agent(deployment, settings, agent_mounts)],
        "volumes": volumes.pod_volumes([*agent_mounts, *engine_mounts]),
        **placement(spec.engine.pod),
    }
    return serving_pods.deployment_frame(deployment, Part.ENGINE, spec.replicas, pod, how)


def _before(name: str, command: list[str], mounts: list[Mount], settings: Settings) -> Manifest:
    """A container of the gateway's image that ends before the engine starts."""
    return {
        "name": name,
        "image": settings.gateway_image,
        "command": command,
        "resources": AGENT_RESOURCES,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
        **serving_pods.LAST_WORDS,
    }


def _base_check(deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings) -> list[Manifest]:
    """For engines that do not ask whether the base's files are those that were inspected."""
    if ENGINES[deployment.spec.engine.effective_type].checks_base:
        return []
    found = base.location
    command = ["wardrobe-check-base", "--folder", found.folder, "--fingerprint", found.fingerprint]
    return [_before(BASE_CHECK, command, [base.mount], settings)]


def _engine(
    deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings, mounts: list[Mount]
) -> Manifest:
    spec = deployment.spec
    return {
        **engines.container(spec, base.location, base.shape, settings),
        **serving_pods.LAST_WORDS,
        "name": "engine",
        "restartPolicy": "Always",
        "resources": accelerated(spec.engine.pod.resources, GPU, spec.engine.gpus),
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
    }


def _agent(deployment: AdapterDeploymentResource, settings: Settings, mounts: list[Mount]) -> Manifest:
    routes, gpus = routes_name(deployment.metadata.name), deployment.spec.engine.gpus
    return {
        "name": AGENT,
        "image": settings.gateway_image,
        "command": ["wardrobe-agent"],
        "args": [
            *serving_pods.identity(deployment, routes),
            *("--store", paths.STORE, "--cache", paths.CACHE, "--engine", deployment.spec.engine.effective_type.value),
            *("--quantization", deployment.spec.quantization.value, "--precision", _precision(deployment.spec.engine)),
            *("--control", paths.CONTROL, "--shards", str(gpus or 1), *_places(deployment)),
        ],
        "ports": serving_pods.ports(AGENT_PORT),
        "resources": AGENT_RESOURCES,
        "volumeMounts": volumes.container_mounts(mounts),
        "securityContext": CONTAINER_SECURITY,
        **serving_pods.LAST_WORDS,
        **serving_pods.probes(),
    }


def _precision(engine: EngineSpec) -> str:
    """In what engines compute: on CPUs all do in the type that every one of them is exact in.

    An engine that finds a GPU by itself may have it among the resources, as in deployments that were stored before
    `engine.gpus`; the others are told by `engine.gpus` what to compute in.
    """
    unsaid = ENGINES[engine.effective_type].finds_gpu and _asks_for_gpu(engine.pod.resources)
    return (Precision.BFLOAT16 if engine.gpus or unsaid else Precision.FLOAT32).value


def _asks_for_gpu(resources: Manifest) -> bool:
    """Whether some vendor's GPU, or a part of one, is among limits or requests."""
    named = {*resources.get("limits", {}), *resources.get("requests", {})}
    return any(name.endswith("/gpu") or name.startswith(GPU_PART) for name in named)


def _places(deployment: AdapterDeploymentResource) -> list[str]:
    """How many requests it lets in, where that is not what the engine's facts say."""
    written = deployment.spec.engine.max_concurrent_requests
    return [] if written is None else ["--max-concurrent-requests", str(written)]


def _control() -> Mount:
    """The wrapper, what the agent orders of it, and what it says."""
    return Mount({"name": "control", "emptyDir": {}}, paths.CONTROL, read_only=False)


def _cache(*, read_only: bool) -> Mount:
    """Adapters that the agent has verified."""
    return Mount({"name": "cache", "emptyDir": {}}, paths.CACHE, read_only=read_only)
