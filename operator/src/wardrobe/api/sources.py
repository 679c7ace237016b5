"""Where models and datasets come from: `pvc://claim/path` and `configmap://name/key`.

Another source is another class here, its rule in the CRDs, and its volume in `manifests/volumes.py`.
"""

from dataclasses import dataclass


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


Source = ClaimSource | ConfigMapSource


def parse_source(text: str) -> Source:
    """From `spec.source` or `spec.dataset.source`. Raises ValueError on a scheme that the CRD would have refused."""
    scheme, _, rest = text.partition("://")
    first, _, second = rest.partition("/")
    match scheme:
        case "pvc":
            return ClaimSource(claim=first, path=second)
        case "configmap":
            return ConfigMapSource(name=first, key=second)
    raise ValueError(f"unknown source {text!r}: use pvc://<claim>/<path> or configmap://<name>/<key>")


def parse_claim(text: str) -> ClaimSource:
    """From a `spec.source` that may only be a claim."""
    source = parse_source(text)
    if not isinstance(source, ClaimSource):
        raise ValueError(  # noqa: TRY004  it is a value of YAML, not an argument of the wrong type
            f"source {text!r} must be pvc://<claim>/<path>"
        )
    return source
