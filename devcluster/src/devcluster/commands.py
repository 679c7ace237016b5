"""Command lines of the control plane's daemons. Pure: paths and numbers in, arguments out."""

from dataclasses import dataclass
from pathlib import Path

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # the address of `kubernetes.default.svc`
ISSUER = "https://kubernetes.default.svc.cluster.local"
NOWHERE = "http://127.0.0.1:1"  # a single etcd tells nobody where its peers are


@dataclass(frozen=True)
class ApiServer:
    """What differs between the node's apiserver and a test's."""

    binary: Path
    pki: Path
    etcd_socket: Path
    port: int
    bind: str = "127.0.0.1"
    advertise: str | None = None
    without_admission: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


def etcd(binary: Path, *, data: Path, socket: Path) -> list[str]:
    """Clients come through a unix socket: no port, and nobody else can connect. Data need not survive power loss."""
    return [
        str(binary),
        f"--data-dir={data}",
        f"--listen-client-urls=unix://{socket}",
        f"--advertise-client-urls={NOWHERE}",
        "--listen-peer-urls=http://127.0.0.1:0",
        f"--initial-advertise-peer-urls={NOWHERE}",
        f"--initial-cluster=default={NOWHERE}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver(server: ApiServer) -> list[str]:
    """RBAC and Node authorization, service account tokens, the standard admission plugins."""
    arguments = {
        "etcd-servers": f"unix://{server.etcd_socket}",
        "secure-port": server.port,
        "bind-address": server.bind,
        "advertise-address": server.advertise,
        "cert-dir": server.pki,
        "tls-cert-file": server.pki / "apiserver.crt",
        "tls-private-key-file": server.pki / "apiserver.key",
        "client-ca-file": server.pki / "ca.crt",
        "kubelet-client-certificate": server.pki / "kubelet-client.crt",
        "kubelet-client-key": server.pki / "kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "disable-admission-plugins": ",".join(server.without_admission) or None,
        "service-cluster-ip-range": SERVICES,
        "service-account-issuer": ISSUER,
        "service-account-key-file": server.pki / "sa.pub",
        "service-account-signing-key-file": server.pki / "sa.key",
        "allow-privileged": "true",
    }
    options = (f"--{name}={value}" for name, value in arguments.items() if value is not None)
    return [str(server.binary), *options, *server.more]


def controller_manager(binary: Path, *, pki: Path, kubeconfig: Path) -> list[str]:
    """The 5 minutes: an outage of the apiserver of a minute must not mark the node NotReady."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--node-monitor-grace-period=5m",
        "--pvclaimbinder-sync-period=1s",  # a claim that was seen before its volume waits for this; 15 s by default
        "--secure-port=0",
        "--kube-api-qps=500",  # the default throttles the controllers' start to 5 s
        "--kube-api-burst=1000",
        f"--flex-volume-plugin-dir={pki / 'none'}",  # else it makes one below /usr/libexec
    ]


def scheduler(binary: Path, *, kubeconfig: Path) -> list[str]:
    """Alone, so without leader election; nobody scrapes it, so without a port."""
    return [str(binary), f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]
