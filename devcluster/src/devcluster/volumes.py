"""Claims with a folder of the node behind them, filled before the first pod mounts them.

A local PersistentVolume and not hostPath: kubelet applies fsGroup to it. ReadWriteMany is true enough on
one node. The claim is bound in advance (claimRef), so no provisioner is needed.
"""

import filecmp
import os
import shutil
from pathlib import Path
from typing import Any

from devcluster import kubectl, node
from devcluster.configs import NODE_NAME
from devcluster.console import DevclusterError
from devcluster.images import USER

DEFAULT_SIZE = "10Gi"


def folder(namespace: str, claim: str) -> Path:
    """The host folder behind a claim."""
    return node.instance().volumes / namespace / claim


def documents(namespace: str, claim: str, *, size: str = DEFAULT_SIZE) -> list[dict[str, Any]]:
    """The PersistentVolume and the claim that it is kept for."""
    name = f"{namespace}.{claim}"  # a namespace has no dot, so no two claims share a name
    common = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeMode": "Filesystem",
    }
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **common,
            "capacity": {"storage": size},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
            "local": {"path": str(folder(namespace, claim))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    claimed = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "namespace": namespace},
        "spec": {**common, "volumeName": name, "resources": {"requests": {"storage": size}}},
    }
    return [volume, claimed]


def create(
    namespace: str, claim: str, *, source: Path | None = None, size: str = DEFAULT_SIZE, kubeconfig: Path | None = None
) -> Path:
    """Make folder, volume and claim (and the namespace); returns the folder. Harmless when repeated.

    Files of `source` are copied only into a new volume. Raises DevclusterError with status 2 when the volume
    is there already and lacks some of them: pods may be reading it.
    """
    target = folder(namespace, claim)
    credentials = kubeconfig or node.instance().kubeconfig
    if not credentials.is_file():
        raise DevclusterError("the node is not up: devcluster up")
    if source is not None and not source.is_dir():
        raise DevclusterError(f"{source} is no folder", status=2)
    if not target.exists():
        _fill(target, source)
    elif source is not None and (missing := differences(source, target)):
        raise DevclusterError(
            f"the volume {namespace}/{claim} exists and its content is not that of {source} "
            f"({', '.join(missing[:3])}{'…' if len(missing) > 3 else ''}); nothing was copied. "
            f"Write into {target} yourself, or delete claim, volume and folder first",
            status=2,
        )
    if not kubectl.exists(credentials, "namespace", namespace):
        kubectl.run(credentials, "create", "namespace", namespace)
    kubectl.create(credentials, *documents(namespace, claim, size=size))
    # The scheduler puts a pod aside whose claim is not bound yet, for half a minute and more.
    bound = ("--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
    kubectl.run(credentials, "wait", f"persistentvolumeclaim/{claim}", f"--namespace={namespace}", *bound)
    return target


def differences(source: Path, target: Path) -> list[str]:
    """Files of `source` that `target` lacks or has otherwise (by size and time, else by content)."""

    def same(name: Path) -> bool:
        return (target / name).is_file() and filecmp.cmp(source / name, target / name)

    names = [file.relative_to(source) for file in sorted(source.rglob("*")) if file.is_file()]
    return [str(name) for name in names if not same(name)]


def _fill(target: Path, source: Path | None) -> None:
    """Fill a draft, then give it its name: a copy that was interrupted is never taken for a volume."""
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        draft.mkdir()
    else:
        shutil.copytree(source, draft)
    open_to_group(draft)
    draft.rename(target)


def open_to_group(top: Path) -> None:
    """As kubelet does it for fsGroup: the group owns all, may write, and new files inherit it."""
    for path in (top, *top.rglob("*")):
        if path.is_symlink():
            continue
        os.chown(path, -1, USER)
        path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))
