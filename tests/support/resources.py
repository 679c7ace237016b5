"""Manifests as users write them, small; and what controllers make of them, where a test has no controllers."""

from collections.abc import Sequence
from typing import Any

from wardrobe.api import children
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import API_VERSION, Manifest
from wardrobe.base import ready
from wardrobe.base.ready import ReadyBase

from . import results

TIME = "2026-01-01T00:00:00Z"
BASE_DIGEST = results.digest("a")


def base_model(name: str = "base", source: str = "pvc://models/base", **spec: Any) -> Manifest:
    """A BaseModel."""
    return _ours("BaseModel", name, {"source": source} | spec)


def run(name: str, line: str = "cardiology", source: str = "pvc://datasets/rows.jsonl", **spec: Any) -> Manifest:
    """A FineTuneJob on CPU."""
    wanted = {
        "baseModel": {"name": "base"},
        "output": {"adapter": line},
        "dataset": {"source": source},
        "parallelism": {"accelerator": "CPU"},
    }
    return _ours("FineTuneJob", name, wanted | spec)


def in_queue(run: Manifest, queue: str, priority: str | None = None) -> Manifest:
    """A run whose Jobs Kueue lets in, on request before others."""
    labels = {"queue-name": queue} | ({"priority-class": priority} if priority else {})
    named = {f"kueue.x-k8s.io/{name}": text for name, text in labels.items()}
    return {**run, "metadata": {**run["metadata"], "labels": named}}


def workload(job: Manifest, reason: str, message: str, **more: str) -> Manifest:
    """What Kueue keeps for a Job, and says of it: why it has no quota, and the status of further conditions."""
    uid = job["metadata"]["uid"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": uid, "controller": True}
    metadata = {"name": f"job-{job['metadata']['name']}", "labels": {"kueue.x-k8s.io/job-uid": uid}}
    said = {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}
    further = [{"type": kind, "status": status, "reason": "", "message": ""} for kind, status in more.items()]
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {**metadata, "ownerReferences": [owner]},
        "status": {"conditions": [said, *further]},
    }


def adapter(name: str, *, base: str = BASE_DIGEST, variants: Sequence[str] = ("None", "NF4")) -> Manifest:
    """An Adapter as a run has made it, whose digest is its own."""
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
    made = _ours("Adapter", name, spec)
    return {**made, "metadata": {**made["metadata"], "labels": {children.RUN_UID_LABEL: "run-uid"}}}


def by_hand(adapter: Manifest) -> Manifest:
    """The same Adapter as somebody writes it, who cannot say that a run has made it."""
    return {**adapter, "metadata": {"name": adapter["metadata"]["name"]}}


def another_version(good: Manifest, version: int, **spec: Any) -> Manifest:
    """A further version of an Adapter's line, made as that one was."""
    line, labels = good["spec"]["line"], good["metadata"].get("labels", {})
    made = _ours("Adapter", f"{line}-v{version}", {**good["spec"], "version": version, **spec})
    return {**made, "metadata": {**made["metadata"], "labels": labels}}


def deployment(name: str = "tantanila", spec: Manifest | None = None, **departments: str) -> Manifest:
    """An AdapterDeployment; keywords map departments to Adapters."""
    wanted: Manifest = {
        department: {"adapter": found, "keys": {"secretName": f"{department}-keys"}}
        for department, found in departments.items()
    }
    least = {"baseModel": {"name": "base"}, "quantization": "NF4", "departments": wanted}
    return _ours("AdapterDeployment", name, least | (spec or {}))


def stored(manifest: Manifest, namespace: str = "ward", uid: str = "u" * 8, **status: Any) -> Manifest:
    """As the apiserver gives it back."""
    metadata = {**manifest["metadata"], "namespace": namespace, "uid": uid}
    return {**manifest, "metadata": metadata, "status": status}


def ready_base(digest: str = BASE_DIGEST) -> Manifest:
    """The status of a BaseModel that was inspected."""
    condition = {"type": "Ready", "status": "True", "reason": "Inspected", "message": "", "lastTransitionTime": TIME}
    tokenizer = {
        "digest": BASE_DIGEST,
        "vocabularySize": 32_000,
        "eosToken": "<|end|>",
        "chatTemplateDigest": BASE_DIGEST,
        "generationMarker": "Present",
    }
    return {
        "digest": digest,
        "fingerprint": f"sampled:{BASE_DIGEST}",
        "shape": {**results.SHAPE.model_dump(by_alias=True, exclude={"tied_embeddings"}), "embeddings": "Tied"},
        "tokenizer": tokenizer,
        "conditions": [condition],
    }


def base_to_build_on(namespace: str = "ward") -> ReadyBase:
    """Such a BaseModel as engines and Jobs are built on."""
    manifest = stored(base_model(), namespace, **ready_base())
    found = ready.ready_base(BaseModelResource.parse(manifest), "base")
    assert isinstance(found, ReadyBase)
    return found


def claim(name: str) -> Manifest:
    """A PersistentVolumeClaim."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}


def replica_set_of(made: Manifest) -> Manifest:
    """The ReplicaSet that a Deployment's controller would make."""
    metadata = _made_by(made, made["spec"]["template"], made["metadata"]["name"])
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata}


def pod_of(made: Manifest, owner: Manifest, name: str) -> Manifest:
    """The pod that a controller would make of the template in `made`, without a status; `owner` is the controller."""
    template = made["spec"]["template"]
    metadata = _made_by(owner, template, name)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def ready_status(address: str = "127.0.0.1") -> Manifest:
    """The status of a pod that is Ready."""
    return {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}


def _ours(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _made_by(owner: Manifest, template: Manifest, name: str) -> Manifest:
    """Metadata as a controller gives it."""
    reference = {"uid": owner["metadata"]["uid"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    return {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "ownerReferences": [{**reference, "controller": True}],
    }
