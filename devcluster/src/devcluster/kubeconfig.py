"""kubeconfig files with everything in them, so that they can be copied."""

import base64
import os
from pathlib import Path

import yaml

CONTEXT = "wardrobe-dev"


def render(*, server: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """One cluster, one user, one context named wardrobe-dev."""
    cluster = {"server": server, "certificate-authority-data": _text(authority)}
    user = {"client-certificate-data": _text(certificate), "client-key-data": _text(key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "admin"}}],
        "current-context": CONTEXT,
    }
    return yaml.safe_dump(document, sort_keys=False)


def for_user(pki: Path, user: str, server: str) -> Path:
    """The kubeconfig of a daemon, beside its certificate."""
    target = pki / f"{user}.kubeconfig"
    write(target, pki=pki, user=user, server=server)
    return target


def write(target: Path, *, pki: Path, user: str, server: str) -> None:
    """Write a kubeconfig of the certificate `user` under `pki`, readable by us only."""
    text = render(
        server=server,
        authority=(pki / "ca.crt").read_bytes(),
        certificate=(pki / f"{user}.crt").read_bytes(),
        key=(pki / f"{user}.key").read_bytes(),
    )
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
