"""Where models and datasets come from: `pvc://claim/path`, and for datasets `configmap://name/key`, `s3://bucket/key`
and `hf://datasets/owner/name@revision/path`.

An adapter to import comes from a claim, from `s3://bucket/prefix`, or from `run://run/attempt`, which is a folder of
the namespace's store.

Another source in the cluster is another class here, its rule in the CRDs, and its volume in `manifests/volumes.py`; one
elsewhere is another class in `wardrobe_contracts.remote`, which the trainer has a module for.
"""

from dataclasses import dataclass

from wardrobe_contracts import paths
from wardrobe_contracts.remote import HubFile, S3File, S3Folder


@dataclass(frozen=True)
class ClaimSource:
    """A file or folder inside a PersistentVolumeClaim."""

    claim: str
    path: str


@dataclass(frozen=True)
class ConfigMapSource:
    """One key of a ConfigMap."""

    name: str
    key: str


Source = ClaimSource | ConfigMapSource | S3File | HubFile


def parse_source(text: str, endpoint: str | None = None) -> Source:
    """From `spec.source` or `spec.dataset.source`. Raises ValueError on a text that the CRD would have refused."""
    scheme, _, rest = text.partition("://")
    first, _, second = rest.partition("/")
    match scheme:
        case "pvc":
            return ClaimSource(claim=first, path=second)
        case "configmap":
            return ConfigMapSource(name=first, key=second)
        case "s3":
            return S3File(bucket=first, key=second, endpoint=endpoint)
        case "hf":
            return _hub_file(second, endpoint)
    raise ValueError(f"unknown source {text!r}: use pvc://, configmap://, s3:// or hf://datasets/")


def parse_adapter_source(text: str, endpoint: str | None = None) -> ClaimSource | S3Folder:
    """From `spec.adapter.source`. Raises ValueError on a text that the CRD would have refused."""
    scheme, _, rest = text.partition("://")
    first, _, second = rest.partition("/")
    match scheme:
        case "pvc":
            return ClaimSource(claim=first, path=second)
        case "run":
            return ClaimSource(claim=paths.STORE_CLAIM, path=paths.trained_in_store(first, second))
        case "s3":
            return S3Folder(bucket=first, prefix=second, endpoint=endpoint)
    raise ValueError(f"unknown source {text!r}: use pvc://, s3:// or run://")


def _hub_file(text: str, endpoint: str | None) -> HubFile:
    repository, _, rest = text.partition("@")
    revision, _, path = rest.partition("/")
    return HubFile(repository=repository, revision=revision, path=path, endpoint=endpoint)


def parse_claim(text: str) -> ClaimSource:
    """From a `spec.source` that may only be a claim."""
    source = parse_source(text)
    if not isinstance(source, ClaimSource):
        raise ValueError(  # noqa: TRY004  it is a value of YAML, not an argument of the wrong type
            f"source {text!r} must be pvc://<claim>/<path>"
        )
    return source
