"""Runs on the node that are long enough to be disturbed, and what they would have come to undisturbed."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devcluster import environments, volumes
from wardrobe.api.meta import Manifest
from wardrobe_contracts import deepspeed, paths
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import TrainingSummary

from . import resources
from .cluster import Namespace
from .waiting import eventually

INDEX = "batch.kubernetes.io/job-completion-index"


def long_run(name: str, *, every_seconds: int = 10, epochs: int = 8, **parallelism: Any) -> Manifest:
    """Of some minutes, without dropout, on the rows of every namespace."""
    training = {"learningRate": "3e-4", "batchSize": 8, "microBatchSize": 4, "sequenceLength": 320}
    return resources.run(
        name,
        "renal",
        lora={"rank": 4, "alpha": 8, "targetModules": ["q_proj", "v_proj"]},
        training={**training, "epochs": str(epochs)},
        checkpoints={"everySeconds": every_seconds},
        parallelism={"accelerator": "CPU", **parallelism},
        pod={"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
    )


def status(namespace: Namespace, name: str) -> Manifest:
    """Of a run."""
    found: Manifest = (namespace.get("FineTuneJob", name) or {}).get("status", {})
    return found


def progress(namespace: Namespace, name: str) -> Manifest:
    """As the run's status has it."""
    found: Manifest = status(namespace, name).get("progress", {})
    return found


def await_steps(namespace: Namespace, name: str, steps: int) -> None:
    """Until so many are done."""
    eventually(lambda: progress(namespace, name).get("step", 0) >= steps, what=f"step {steps} of {name}")


def await_saved(namespace: Namespace, name: str, steps: int) -> int:
    """Until so many are in a checkpoint; returns how many are."""

    def saved() -> int:
        found = int(progress(namespace, name).get("saved") or 0)
        return found if found >= steps else 0

    return eventually(saved, what=f"a checkpoint of step {steps} of {name}")


def training_pods(namespace: Namespace, name: str) -> list[Manifest]:
    """Of the run's newest attempt, in the order of their numbers."""
    labels = ("wardrobe.dev/owner", "wardrobe.dev/task")
    found = [pod for pod in namespace.pods() if tuple(map(pod["metadata"]["labels"].get, labels)) == (name, "train")]
    newest = max((int(pod["metadata"]["labels"]["wardrobe.dev/number"]) for pod in found), default=0)
    mine = [pod for pod in found if pod["metadata"]["labels"]["wardrobe.dev/number"] == str(newest)]
    return sorted(mine, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


def checkpoints(namespace: Namespace) -> list[Path]:
    """Of the namespace's runs, the newest first."""
    runs = volumes.folder(namespace.name, "wardrobe-store") / "runs"
    found = [path for path in runs.glob("*/*/checkpoints/*") if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def last_loss(namespace: Namespace, name: str) -> float:
    """Of the attempt that came to the end."""
    return _summary(next(_results(namespace, name))).last_loss


def undisturbed_loss(namespace: Namespace, name: str, folder: Path) -> float:
    """Of the last step, where the same order is carried out outside pods by as many ranks, and nothing happens.

    The node's own environment of the trainer does it, on the rows that the run's check left.
    """
    order = _order(namespace, name)
    processes = order["processes"]
    ranks = processes["nodes"] * processes["perNode"]
    changed = {
        **order,
        "outputFolder": str(folder / "1"),
        "processes": {**processes, "nodes": 1, "perNode": ranks},
        "checkpoints": {"everySeconds": 86_400, "keep": 1},
    }
    (folder / "1").mkdir()
    if "deepspeed" in order:
        files = namespace.config_map(_job(namespace, name)["metadata"]["name"])
        (folder / deepspeed.CONFIG_FILE).write_text(files[deepspeed.CONFIG_FILE])
        changed["deepspeed"] = str(folder / deepspeed.CONFIG_FILE)
    python = Path(environments.MEMBERS["trainer"].environment) / "bin" / "python"
    own = {
        paths.CONFIG_VARIABLE: _on_host(namespace, name, json.dumps(changed)),
        "WARDROBE_TERMINATION_LOG": str(folder / "log"),
        "WARDROBE_PROGRESS_PORT": "0",
        "WARDROBE_MASTER_PORT": "29511",
        "HF_HUB_OFFLINE": "1",
    }
    subprocess.run([python, "-m", "wardrobe_trainer", "train"], env={**os.environ, **own}, check=True)
    return _summary((folder / "1" / "result.json").read_text()).last_loss


def _job(namespace: Namespace, name: str) -> Manifest:
    """One of those that trained; all have the same order, but for their folder."""
    labels = ("wardrobe.dev/owner", "wardrobe.dev/task")
    return next(job for job in namespace.jobs() if tuple(map(job["metadata"]["labels"].get, labels)) == (name, "train"))


def _order(namespace: Namespace, name: str) -> Manifest:
    (container,) = _job(namespace, name)["spec"]["template"]["spec"]["containers"]
    text = next(entry["value"] for entry in container["env"] if entry["name"] == paths.CONFIG_VARIABLE)
    order: Manifest = json.loads(text)
    return order


def _on_host(namespace: Namespace, name: str, order: str) -> str:
    """With the folders of the node in place of the pods'."""
    run = volumes.folder(namespace.name, "wardrobe-store") / "runs" / status(namespace, name)["run"]
    base = volumes.folder(namespace.name, "models") / "base"
    return order.replace(paths.RUN, str(run)).replace(paths.BASE, str(base))


def _results(namespace: Namespace, name: str) -> Iterator[str]:
    """What attempts to train left in the store, those that succeeded."""
    run = volumes.folder(namespace.name, "wardrobe-store") / "runs" / status(namespace, name)["run"]
    for path in run.glob("*/result.json"):
        if path.parent.name.isdecimal() and Result.model_validate_json(text := path.read_text()).succeeded:
            yield text


def _summary(text: str) -> TrainingSummary:
    payload = Result.model_validate_json(text).payload
    assert isinstance(payload, TrainingSummary)
    return payload
