"""Volumes and mounts of a task's pod. One volume per claim, however many mounts it has."""

import hashlib
from dataclasses import dataclass

from wardrobe.api.meta import Manifest
from wardrobe.api.sources import ClaimSource, ConfigMapSource
from wardrobe_contracts import paths


@dataclass(frozen=True)
class Mount:
    """Where something appears in the pod."""

    volume: Manifest
    path: str
    sub_path: str = ""
    read_only: bool = True


def base(source: ClaimSource) -> Mount:
    """Only the model's folder; it exists, because inspection has read it."""
    return Mount(_claim(source.claim), paths.BASE, source.path)


def models(source: ClaimSource) -> Mount:
    """The whole claim: a subPath that is missing would be made, not reported."""
    return Mount(_claim(source.claim), paths.MODELS)


def adapters(source: ClaimSource) -> Mount:
    """The whole claim that should hold an adapter to import, for the same reason."""
    return Mount(_claim(source.claim), paths.ADAPTERS)


def dataset(source: ClaimSource | ConfigMapSource, folder: str) -> Mount:
    """The whole claim, for the same reason, or the one key of a ConfigMap, at `folder`."""
    if isinstance(source, ConfigMapSource):
        items = [{"key": source.key, "path": source.key}]
        name = "dataset" if folder == paths.DATASETS else "validation"
        volume = {"name": name, "configMap": {"name": source.name, "items": items}}
        return Mount(volume, folder)
    return Mount(_claim(source.claim), folder)


def dataset_file(source: ClaimSource | ConfigMapSource, folder: str) -> str:
    """Where the dataset is in the pod."""
    inside = source.key if isinstance(source, ConfigMapSource) else source.path
    return f"{folder}/{inside}"


def run(name: str) -> Mount:
    """The run's own folder of the store, made by the kubelet at the first mount."""
    return Mount(_claim(paths.STORE_CLAIM), paths.RUN, paths.run_in_store(name), read_only=False)


def line(name: str) -> Mount:
    """The line's folder of the store: staging and publishing happen within this one mount."""
    return Mount(_claim(paths.STORE_CLAIM), paths.LINE, paths.line_in_store(name), read_only=False)


def scores() -> Mount:
    """The folder of the store for what was measured, which all runs of the namespace share."""
    return Mount(_claim(paths.STORE_CLAIM), paths.SCORES, paths.SCORES_IN_STORE, read_only=False)


def new_models(name: str) -> Mount:
    """The folder of the store for models of one name, for the same reason."""
    sub_path = paths.models_in_store(name)
    return Mount(_claim(paths.STORE_CLAIM), paths.NEW_MODELS, sub_path, read_only=False)


def store() -> Mount:
    """The whole store, to read artifacts from."""
    return Mount(_claim(paths.STORE_CLAIM), paths.STORE)


def temporary(name: str = "tmp") -> Mount:
    """A container's own /tmp, where its root is read-only."""
    return Mount({"name": name, "emptyDir": {}}, "/tmp", read_only=False)  # noqa: S108


def config(name: str) -> Mount:
    """The files of a ConfigMap."""
    return Mount({"name": "config", "configMap": {"name": name}}, paths.CONFIG)


def scratch(shared_memory_gib: int = 1) -> list[Mount]:
    """Writable places of a container that computes; shared memory counts against its memory limit."""
    shared = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_memory_gib}Gi"}}
    return [temporary(), Mount(shared, "/dev/shm", read_only=False)]  # noqa: S108


def pod_volumes(mounts: list[Mount]) -> list[Manifest]:
    """The distinct volumes behind the mounts."""
    return list({mount.volume["name"]: mount.volume for mount in mounts}.values())


def container_mounts(mounts: list[Mount]) -> list[Manifest]:
    """The mounts as the container lists them."""
    return [_mount(mount) for mount in mounts]


def _mount(mount: Mount) -> Manifest:
    manifest: Manifest = {"name": mount.volume["name"], "mountPath": mount.path}
    if mount.sub_path:
        manifest["subPath"] = mount.sub_path
    if mount.read_only:
        manifest["readOnly"] = True
    return manifest


def _claim(name: str) -> Manifest:
    short = hashlib.sha256(name.encode()).hexdigest()[:8]  # a claim's name may be longer than a volume's, and dotted
    return {"name": f"claim-{short}", "persistentVolumeClaim": {"claimName": name}}
