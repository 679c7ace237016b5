"""Configuration files of the node's daemons. Pure: an instance in, text out."""

import json
from pathlib import Path
from typing import Any

import yaml

from devcluster.images import PAUSE
from devcluster.instance import Instance

NODE_NAME = "node1"
NODE_IP = "10.244.0.1"  # the bridge's own address: apiserver, kubelet and DNS listen there (loopback is refused)
PODS = "10.244.0.0/24"
BRIDGE = "wardrobe0"
NETWORK = "wardrobe-pods"
DOMAIN = "cluster.local"

CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE runc dies: "can't get final child's PID from pipe"
  netns_mounts_under_state_dir = true  # so that the network namespaces are known as ours
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{folder}/spec.json"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/runc"
"""

COREFILE = """\
.:53 {{
  bind {address}
  errors
  kubernetes {domain} in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
"""

# Pods reach what is outside through the node. Between pods and services nothing is rewritten, and no
# iptables chain is ever made: neither by CNI (ipMasq is off) nor by kubelet (makeIPTablesUtilChains is off).
MASQUERADE = """\
table ip wardrobe {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {pods} ip daddr != {pods} masquerade
  }}
}}
"""


def containerd(instance: Instance) -> str:
    """Its root, state and sockets are the instance's; a containerd of the system is never touched."""
    return CONTAINERD.format(folder=instance.folder, pause=PAUSE)


def runtime_spec(default: str, shown: list[Path]) -> str:
    """containerd's default for containers plus paths of the host, read-only. What pods ask for is laid over it."""
    spec = json.loads(default)
    for path in shown:
        mount = {"destination": str(path), "type": "bind", "source": str(path)}
        spec["mounts"].append({**mount, "options": ["rbind", "ro", "nosuid", "nodev"]})
    return json.dumps(spec)


def network(instance: Instance) -> str:
    """CNI: a bridge, addresses kept in the instance's folder."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(instance.folder / "ipam"),
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge]})


def kubelet(instance: Instance, *, cgroup: str) -> str:
    """Pods below our own control group; nothing outside the instance's folder where kubelet lets us choose."""
    folder = instance.folder
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(instance.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": NODE_IP,
        "tlsCertFile": str(instance.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(instance.pki / "kubelet.key"),
        "healthzPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "nodeStatusReportFrequency": "20s",  # 5 min by default: what overwrites the status shows soon
        "syncFrequency": "10s",  # 1 min by default: pods see a changed Secret when kubelet next looks at them
        "failSwapOn": False,
        "failCgroupV1": False,
        "oomScoreAdj": 0,
        "clusterDNS": [NODE_IP],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
    }
    return yaml.safe_dump(config)


def proxy(kubeconfig: Path, *, bridge_is_filtered: bool) -> str:
    """nftables. Where packets between pods on the bridge skip the filter, answers of services need masquerading."""
    nothing = "0s"  # leave the machine's connection tracking as it is
    config: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "nftables": {"masqueradeAll": not bridge_is_filtered},
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": PODS,
        "hostnameOverride": NODE_NAME,
        "oomScoreAdj": 0,
        "healthzBindAddress": f"{NODE_IP}:10256",
        "metricsBindAddress": f"{NODE_IP}:10249",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": nothing, "tcpCloseWaitTimeout": nothing},
    }
    return yaml.safe_dump(config)


def corefile(kubeconfig: Path) -> str:
    """Names of the cluster; nothing is forwarded, outside names are unknown at once."""
    return COREFILE.format(address=NODE_IP, domain=DOMAIN, kubeconfig=kubeconfig)


def masquerade() -> str:
    """Our nft table."""
    return MASQUERADE.format(pods=PODS)
