"""Command lines, configuration files and tables: pure functions."""

import json
from pathlib import Path

import pytest
import yaml

from devcluster import __main__, cgroups, commands, configs, kubeconfig, report, teardown, volumes
from devcluster.instance import Instance

HERE = Instance("node", Path("/run/here"))


def test_outages_of_the_apiserver_do_not_make_the_node_not_ready() -> None:
    argv = commands.controller_manager(Path("kcm"), pki=Path("/pki"), kubeconfig=Path("/k"))
    assert "--node-monitor-grace-period=5m" in argv


def test_apiserver_options_without_value_are_left_out() -> None:
    server = commands.ApiServer(binary=Path("api"), pki=Path("/pki"), etcd_socket=Path("/e.sock"), port=20001)
    argv = commands.apiserver(server)
    assert "--etcd-servers=unix:///e.sock" in argv
    assert "--secure-port=20001" in argv
    assert not [option for option in argv if "advertise" in option or "disable-admission" in option]


def test_apiserver_admission_can_be_reduced() -> None:
    server = commands.ApiServer(Path("a"), Path("/p"), Path("/e"), 1, without_admission=("ServiceAccount", "X"))
    assert "--disable-admission-plugins=ServiceAccount,X" in commands.apiserver(server)


def test_runtime_spec_adds_only_readonly_mounts() -> None:
    default = {"mounts": [{"destination": "/proc"}], "process": {"noNewPrivileges": True}}
    spec = json.loads(configs.runtime_spec(json.dumps(default), [Path("/usr"), Path("/opt/wardrobe")]))
    assert spec["process"] == default["process"]
    assert spec["mounts"][0] == {"destination": "/proc"}
    added = spec["mounts"][1:]
    assert [mount["destination"] for mount in added] == ["/usr", "/opt/wardrobe"]
    assert all({"ro", "nosuid", "nodev"} <= set(mount["options"]) for mount in added)


def test_containerd_stays_in_the_instances_folder() -> None:
    text = configs.containerd(HERE)
    for line in ('root = "/run/here/node/containerd"', 'address = "/run/here/node/containerd.sock"'):
        assert line in text
    assert "/var/lib/containerd" not in text


def test_kubelet_makes_no_iptables_chains_and_keeps_pods_in_our_group() -> None:
    config = yaml.safe_load(configs.kubelet(HERE, cgroup="wardrobe-node"))
    assert config["makeIPTablesUtilChains"] is False
    assert config["cgroupRoot"] == "/wardrobe-node"


@pytest.mark.parametrize("filtered", [True, False])
def test_services_are_masqueraded_only_where_the_bridge_is_not_filtered(filtered: bool) -> None:
    config = yaml.safe_load(configs.proxy(Path("/k"), bridge_is_filtered=filtered))
    assert config["nftables"]["masqueradeAll"] is not filtered


def test_kubeconfig_has_one_context() -> None:
    text = kubeconfig.render(server="https://h:1", authority=b"a", certificate=b"c", key=b"k")
    document = yaml.safe_load(text)
    assert document["current-context"] == "wardrobe-dev"
    assert [context["name"] for context in document["contexts"]] == ["wardrobe-dev"]


def test_only_mounts_of_the_folder_last_first() -> None:
    mountinfo = "\n".join(
        f"{number} 1 8:1 / {point} rw - ext4 /dev/x rw"
        for number, point in enumerate(["/", "/run/a", "/run/a/b", "/run/ab", "/run/a/with\\040space"])
    )
    assert teardown.mounts_below(Path("/run/a"), mountinfo) == ["/run/a/with space", "/run/a/b", "/run/a"]


def test_control_group_trees_of_both_versions() -> None:
    text = "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup2 /u cgroup2 rw 0 0\nproc /proc proc rw 0 0\n"
    assert cgroups.hierarchies(text) == {Path("/sys/fs/cgroup/pids"): "cgroup", Path("/u"): "cgroup2"}


def test_volume_is_local_shared_and_kept_for_its_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_RUN", "/run/here")
    volume, claim = volumes.documents("team-a", "models", size="1Gi")
    spec = volume["spec"]
    assert spec["local"] == {"path": "/run/here/node/volumes/team-a/models"}
    assert spec["accessModes"] == claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert spec["claimRef"]["namespace"] == "team-a"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert spec["storageClassName"] == claim["spec"]["storageClassName"] == ""


def test_differences_name_files_that_a_volume_lacks(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    target.mkdir()
    for name in ("same", "sub/new", "changed"):
        (source / name).write_text("text")
    (target / "same").write_text("text")
    (target / "changed").write_text("other words")
    (target / "extra").write_text("pods may write")
    assert volumes.differences(source, target) == ["changed", "sub/new"]


def test_table_aligns_columns() -> None:
    assert report.table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d"


@pytest.mark.parametrize(
    "command",
    ["up", "down", "status", "logs", "kubeconfig", "build", "sync", "volume", "controlplane", "controlplane up"],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "usage: devcluster" in capsys.readouterr().out
