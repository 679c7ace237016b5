"""Pods under Pod Security `restricted`, and kubectl against the node."""

import json
from typing import Any

from devcluster import kubectl, node
from devcluster.waiting import require

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def run(*arguments: str, stdin: str | None = None) -> str:
    """Output of kubectl against the node; see kubectl.run."""
    return kubectl.run(node.instance().kubeconfig, *arguments, stdin=stdin)


def restricted_namespace(name: str) -> None:
    """Make the namespace and wait until pods can be made there."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    has_account = ("serviceaccount", "default", f"--namespace={name}")
    kubeconfig = node.instance().kubeconfig
    require(lambda: kubectl.exists(kubeconfig, *has_account), seconds=60, what="the default ServiceAccount")


def apply(*documents: dict[str, Any]) -> None:
    """kubectl apply."""
    stream = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    run("apply", "--filename=-", stdin=json.dumps(stream))


def pod(name: str, namespace: str, member: str, code: str, *, gpus: int = 0) -> dict[str, Any]:
    """A pod under Pod Security `restricted` that runs Python code of a member's environment."""
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    container = {
        "name": "main",
        "image": f"localhost/wardrobe-{member}:dev",
        "command": ["python", "-c", code],
        "securityContext": RESTRICTED,
        "resources": resources,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def with_claim(manifest: dict[str, Any], claim: str, path: str, *, folder: str | None = None) -> dict[str, Any]:
    """The pod with a claim mounted, on request only a folder of it."""
    mount = {"name": claim, "mountPath": path} | ({"subPath": folder} if folder else {})
    manifest["spec"]["containers"][0]["volumeMounts"].append(mount)
    manifest["spec"]["volumes"].append({"name": claim, "persistentVolumeClaim": {"claimName": claim}})
    return manifest


def logs_when_done(name: str, namespace: str, *, seconds: int = 120) -> str:
    """Output of a pod that succeeded; the wait fails when it does not."""
    place = f"--namespace={namespace}"
    run("wait", f"pod/{name}", place, "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={seconds}s")
    return run("logs", name, place)
