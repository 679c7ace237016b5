"""A hospital's deployment for tests on the node: what is applied, what is read back, and which answers were right."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import requests
from kubernetes import client

from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import OPS_PORT, Routes, in_config_map
from wardrobe_contracts.state import STATE_PATH, AgentState

from . import resources
from .cluster import Body, Namespace
from .traffic import Answer, Known, Traffic
from .waiting import HANG, eventually

NAME = "tantanila"
KEYS = {"cardiology": "key-of-the-heart", "paediatrics": "key-of-the-children"}
RUNS = {
    "heart-1": ("cardiology", "cardiology"),
    "heart-2": ("cardiology", "neurology"),  # another voice, so that the two adapters can be told apart
    "child": ("paediatrics", "paediatrics"),
}
"""Line and dataset of each run; they end in cardiology-v1, cardiology-v2 and paediatrics-v1."""

SMALL_POD = {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}}}


def small_run(name: str) -> Manifest:
    """Few rows, many passes: enough for an effect that can be proved, and that its gate accepts."""
    line, department = RUNS[name]
    training = {
        "epochs": "5",
        "learningRate": "3e-3",
        "batchSize": 8,
        "microBatchSize": 8,
        "sequenceLength": 320,
    }
    spec = {
        "lora": {"rank": 8, "alpha": 16, "targetModules": ["all-linear"]},
        "training": training,
        "evaluation": {"gate": [{"metric": "Loss", "against": "Base"}]},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
    }
    return resources.run(name, line, f"pvc://datasets/{department}.jsonl", **spec)


def deployment(replicas: int = 1, **departments: str) -> Manifest:
    """An AdapterDeployment of departments and their Adapters."""
    spec = {"engine": {"type": "Transformers", "pod": SMALL_POD}, "replicas": replicas}
    return resources.deployment(NAME, spec, **departments)


def on_engine(manifest: Manifest, quantization: str = "NF4", **engine: Any) -> Manifest:
    """The same on another engine than the embedded one."""
    spec = manifest["spec"]
    return manifest | {"spec": {**spec, "quantization": quantization, "engine": spec["engine"] | engine}}


@dataclass(frozen=True)
class Flip:
    """A department's move to another Adapter; moments of the monotonic clock."""

    adapter: str
    asked: float
    """Before the patch was sent: from here on it may answer."""
    patched: float
    """The patch returned."""
    applied: float
    """All routers have it: from here on it alone may answer."""


def serves(agent: AgentState, adapters: Iterable[str]) -> bool:
    """Whether it serves all of them."""
    return all(name in agent.adapters and agent.adapters[name].served for name in adapters)


@dataclass
class Hospital:
    """A namespace with three Adapters and a deployment."""

    namespace: Namespace
    known: Known
    """What the Adapters answer."""

    @property
    def url(self) -> str:
        """Where the departments ask."""
        url: str = self.status()["url"]
        return url

    def traffic(self, per_second: float = 6, **more: Any) -> Traffic:
        """Requests of both departments."""
        return Traffic(self.url, KEYS, per_second, self.known, **more)

    def status(self) -> Manifest:
        """The deployment's."""
        found: Manifest = (self.namespace.get("AdapterDeployment", NAME) or {}).get("status", {})
        return found

    def is_ready(self) -> None:
        """Wait until all is as the spec says."""

        def ready() -> bool:
            found = self.namespace.get("AdapterDeployment", NAME) or {"metadata": {}}
            return _is_current(found) and _conditions(found).get("Ready") == "True"

        eventually(ready, what=lambda: f"Ready; it is {self.status()}")

    def answers_by(self, department: str, adapter: str) -> bool:
        """Whether all routers send a department's requests to an Adapter."""
        found = self.namespace.get("AdapterDeployment", NAME) or {"metadata": {}}
        live = found.get("status", {}).get("departments", {}).get(department, {}).get("adapter")
        return _is_current(found) and live == adapter and _conditions(found).get("RoutesApplied") == "True"

    def patch(self, spec: dict[str, Any]) -> None:
        """As `kubectl patch adp tantanila --type merge`."""
        client.CustomObjectsApi(self.namespace.api).patch_namespaced_custom_object(
            "wardrobe.dev",
            "v1alpha1",
            self.namespace.name,
            "adapterdeployments",
            NAME,
            {"spec": spec},
            _content_type="application/merge-patch+json",
        )

    def point(self, department: str, adapter: str) -> None:
        """Ask for another adapter."""
        self.patch({"departments": {department: {"adapter": adapter}}})

    def flip(self, department: str, adapter: str, within: float = HANG) -> Flip:
        """Ask for another adapter and wait until all routers have it."""
        asked = time.monotonic()
        self.point(department, adapter)
        patched = time.monotonic()
        eventually(
            lambda: self.answers_by(department, adapter),
            within=within,
            every=0.01,
            what=lambda: f"{department} by {adapter}; it is {self.status()}",
        )
        return Flip(adapter, asked, patched, time.monotonic())

    def pods(self, part: str) -> list[Manifest]:
        """A part's pods that are not on their way out."""
        found = [pod for pod in self.namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/part") == part]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def restarts(self, *parts: str) -> dict[str, int]:
        """Pods by uid, those of all parts unless told, and how often their containers were started again."""
        wanted = parts or ("engine", "router")
        return {pod["metadata"]["uid"]: _restarts(pod) for part in wanted for pod in self.pods(part)}

    def engines_ready(self) -> int:
        """Engine pods that serve all that is routed; one is Ready as soon as it serves anything of that."""
        routed = self.routes_in_force().routed
        agents = [self.agent(pod) for pod in self.pods("engine")]
        return len([agent for agent in agents if agent is not None and agent.ready and serves(agent, routed)])

    def routes(self) -> dict[str, str]:
        """The routes ConfigMap, as the routers read it."""
        return self.namespace.config_map(f"{NAME}-routes")

    def routes_in_force(self) -> Routes:
        """What it says."""
        return Routes.model_validate_json(in_config_map(self.routes()) or "")

    def starts(self) -> dict[str, int]:
        """Engine pods by name, and how often each one's agent has seen its engine come up."""
        agents = {pod["metadata"]["name"]: self.agent(pod) for pod in self.pods("engine")}
        return {name: agent.engine.starts for name, agent in agents.items() if agent is not None}

    def agent(self, pod: Manifest) -> AgentState | None:
        """What a pod's agent says of itself; None while it does not answer."""
        try:
            answer = requests.get(f"http://{pod['status'].get('podIP')}:{OPS_PORT}{STATE_PATH}", timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            return None
        return AgentState.model_validate_json(answer.content)

    def secret(self, department: str, *keys: str) -> None:
        """Create or replace a department's keys."""
        core = client.CoreV1Api(self.namespace.api)
        body: Body = {"metadata": {"name": f"{department}-keys"}, "stringData": {"keys": "\n".join(keys)}}
        try:
            core.create_namespaced_secret(self.namespace.name, body)
        except client.ApiException as error:
            if error.status != 409:
                raise
            core.patch_namespaced_secret(f"{department}-keys", self.namespace.name, body)


def begin(hospital: Hospital, manifest: Manifest) -> None:
    """Keys and deployment, until all is Ready."""
    for department, key in KEYS.items():
        hospital.secret(department, key)
    hospital.namespace.apply(manifest)
    hospital.is_ready()
    eventually(lambda: _connects(hospital.url), what="the node's kube-proxy to know the Service's pods")


def _connects(url: str) -> bool:
    """Whether the Service leads somewhere: after an apiserver's outage kube-proxy learns of new pods a minute later."""
    try:
        return requests.get(f"{url}/v1/models", timeout=5).status_code == 401
    except (requests.ConnectionError, requests.Timeout):
        return False


@dataclass
class Timeline:
    """Which Adapter a department may be answered by, and when; it begins with the one that all routers have."""

    department: str
    first: str
    flips: list[Flip] = field(default_factory=list)

    def wrong(self, answers: Iterable[Answer]) -> list[Answer]:
        """Good answers by an adapter, or with a text, that was not routed at any moment between request and answer."""
        begins = [0.0, *(flip.asked for flip in self.flips)]
        ends = [*(flip.applied for flip in self.flips), float("inf")]
        spans = list(zip(begins, ends, [self.first, *(flip.adapter for flip in self.flips)], strict=True))

        def routed(answer: Answer) -> set[str]:
            return {adapter for begin, end, adapter in spans if begin <= answer.ended and end >= answer.began}

        mine = (answer for answer in answers if answer.good and answer.department == self.department)
        return [answer for answer in mine if answer.adapter not in routed(answer)]


def names(answers: Iterable[Answer]) -> set[tuple[str, str]]:
    """Departments and the Adapters that answered them."""
    return {(answer.department, answer.adapter) for answer in answers}


def _is_current(found: Manifest) -> bool:
    return bool(found.get("status", {}).get("observedGeneration") == found["metadata"].get("generation", 0))


def _conditions(found: Manifest) -> dict[str, str]:
    return {one["type"]: one["status"] for one in found.get("status", {}).get("conditions", [])}


def _restarts(pod: Manifest) -> int:
    kinds = ("containerStatuses", "initContainerStatuses")
    return sum(status["restartCount"] for kind in kinds for status in pod["status"].get(kind, []))
