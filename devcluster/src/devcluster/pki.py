"""Certificates of one instance: a CA and what it signs, elliptic-curve keys, by openssl."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devcluster.console import DevclusterError

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
DAYS = "365"


@dataclass(frozen=True)
class Certificate:
    """What to sign: file name, X.509 subject, subjectAltName."""

    name: str
    subject: str
    names: str


def openssl(*arguments: str) -> None:
    """Run openssl; its complaint becomes the error."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def apiserver(addresses: list[str]) -> Certificate:
    """The apiserver's: reached by these addresses and by its names in the cluster."""
    names = ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"]
    names += ["DNS:kubernetes.default.svc.cluster.local", *(f"IP:{address}" for address in addresses)]
    return Certificate("apiserver", "/CN=kube-apiserver", ",".join(names))


def client(name: str, subject: str) -> Certificate:
    """A client's: the subject is user (CN) and group (O)."""
    return Certificate(name, subject, f"DNS:{name}")


ADMIN = client("admin", "/O=system:masters/CN=admin")
KUBELET_CLIENT = client("kubelet-client", "/O=system:masters/CN=apiserver-kubelet")
CONTROLLER_MANAGER = client("controller-manager", "/CN=system:kube-controller-manager")
SCHEDULER = client("scheduler", "/CN=system:kube-scheduler")
CONTROL_PLANE = [ADMIN, KUBELET_CLIENT, CONTROLLER_MANAGER, SCHEDULER]


def create(folder: Path, certificates: list[Certificate]) -> None:
    """Make the CA, the service account key pair and each certificate. All keys are readable by us only."""
    former = os.umask(0o077)
    try:
        _authority(folder)
        _service_account_keys(folder)
        for certificate in certificates:
            _sign(folder, certificate)
    finally:
        os.umask(former)


def _authority(folder: Path) -> None:
    files = ("-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"))
    openssl("req", "-x509", *CURVE, *files, "-days", DAYS, "-subj", "/CN=wardrobe-devcluster")


def _service_account_keys(folder: Path) -> None:
    key = str(folder / "sa.key")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("ec", "-in", key, "-pubout", "-out", str(folder / "sa.pub"))


def _sign(folder: Path, certificate: Certificate) -> None:
    authority = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"))
    files = [f"{folder / certificate.name}.{kind}" for kind in ("key", "crt")]
    extensions = ("-addext", f"subjectAltName={certificate.names}", "-addext", "basicConstraints=CA:FALSE")
    subject = ("-subj", certificate.subject, "-days", DAYS)
    openssl("req", "-x509", *CURVE, *authority, "-keyout", files[0], "-out", files[1], *subject, *extensions)
