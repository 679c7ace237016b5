"""Engine pods and routers in tests that have no node: what they would say of themselves, and their pods' statuses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wardrobe.api import children
from wardrobe.api.meta import API_VERSION
from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import AgentState, EngineState, Reason, RouterState, Verdict, VersionState

from . import results

Manifest = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"
BASE_DIGEST = results.digest("a")


def adapter(name: str, *, base: str = BASE_DIGEST, variants: Sequence[str] = ("None", "NF4")) -> Manifest:
    """An imported Adapter whose digest is its own."""
    line, _, version = name.rpartition("-v")
    score = {"loss": "2.0", "perplexity": "7.39", "bodyLoss": "2.0", "bodyPerplexity": "7.39"}
    digest = f"sha256:{int(version):08x}{'0' * 55}{len(name) % 10}"
    spec: Manifest = {
        "line": line,
        "version": int(version),
        "artifact": {"path": f"adapters/{line}/{digest.removeprefix('sha256:')}"},
        "digest": digest,
        "manifestDigest": results.digest("f"),
        "baseModel": {"name": "base", "digest": base},
        "lora": {"rank": 4, "alpha": 8, "dropout": "0", "targetModules": ["q_proj"]},
        "evaluations": [
            {"variant": found, "base": score, "candidate": score, "tokens": 10, "bodyTokens": 8} for found in variants
        ],
    }
    return {"apiVersion": API_VERSION, "kind": "Adapter", "metadata": {"name": name}, "spec": spec}


def deployment(name: str = "tantanila", **departments: str) -> Manifest:
    """An AdapterDeployment; arguments map departments to Adapters."""
    wanted = {
        department: {"adapter": found, "keys": {"secretName": f"{department}-keys"}}
        for department, found in departments.items()
    }
    spec: Manifest = {"baseModel": {"name": "base"}, "quantization": "NF4", "departments": wanted}
    return {"apiVersion": API_VERSION, "kind": "AdapterDeployment", "metadata": {"name": name}, "spec": spec}


def ready_base(name: str = "base", digest: str = BASE_DIGEST) -> Manifest:
    """The status of a BaseModel that was inspected."""
    ready = {"type": "Ready", "status": "True", "reason": "Inspected", "message": "", "lastTransitionTime": TIME}
    return {"digest": digest, "conditions": [ready]}


@dataclass
class Fleet:
    """What all pods say, given the routes in force. Everything may be changed at any time."""

    routes: Callable[[], Routes | None]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By Adapter; the others are Applied."""
    missing_keys: list[str] = field(default_factory=list)
    stuck_at: int | None = None
    """Generation of the routes that routers work by, where they have stopped to hear of others."""

    def agent(self) -> AgentState:
        """An engine pod's `/state`."""
        now = self.routes()
        versions = {
            loaded.version: _version(loaded.digest, self.verdicts.get(loaded.adapter, Verdict.APPLIED))
            for loaded in (now.adapters if now else [])
        }
        return AgentState(
            deployment=now.deployment if now else "",
            generation=now.generation if now else None,
            incarnation="agent",
            ready=True,
            draining=False,
            engine=EngineState(up=True, since=TIME),
            versions=versions,
        )

    def router(self) -> RouterState:
        """A router's `/state`."""
        now = self.routes()
        return RouterState(
            deployment=now.deployment if now else "",
            generation=self.stuck_at or (now.generation if now else None),
            incarnation="router",
            ready=True,
            draining=False,
            connected=True,
            backends=[],
            keys={},
            missing_keys=self.missing_keys,
            duplicate_keys=[],
        )

    async def ask(self, addresses: Sequence[str | None], port: int, model: type[Any]) -> list[Any]:
        """As `wardrobe.podstates.PodStates` does."""
        answer = self.agent if model is AgentState else self.router
        return [answer() if address else None for address in addresses]


def _version(digest: str, verdict: Verdict) -> VersionState:
    applied = verdict is Verdict.APPLIED
    return VersionState(
        digest=digest,
        verdict=verdict,
        reason=Reason.PROVED if applied else Reason.ANSWERS_AS_BASE,
        served=applied,
        since=TIME,
    )


def pod_of(made: Manifest, number: int) -> Manifest:
    """The pod that a Deployment's controller would make, without a status."""
    template = made["spec"]["template"]
    metadata = {
        "name": f"{made['metadata']['name']}-{number}",
        "namespace": made["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "ownerReferences": [{"uid": made["metadata"]["uid"], "kind": "Deployment", "name": made["metadata"]["name"]}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def ready_status(address: str = "127.0.0.1") -> Manifest:
    """The status of a pod that is Ready."""
    return {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}


def part_of(pod: Manifest) -> str:
    """engine, router, or nothing where it serves nobody."""
    found: str = pod["metadata"]["labels"].get(children.PART_LABEL, "")
    return found
