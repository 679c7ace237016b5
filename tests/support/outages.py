"""A control plane's daemons fail as they do in an outage."""

from devcluster import processes
from devcluster.controlplane import ControlPlane


def stop_apiserver(plane: ControlPlane) -> None:
    """End the apiserver at once; etcd and the data stay, and `plane.start_apiserver` brings it back."""
    records = processes.recorded(plane.instance.pids)
    processes.stop([record for record in records if record.name == "apiserver"], grace=0)
