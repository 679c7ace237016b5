"""Resources as users write them, small."""

from typing import Any

from wardrobe.api.meta import API_VERSION

Manifest = dict[str, Any]


def base_model(name: str = "base", source: str = "pvc://models/base") -> Manifest:
    """A BaseModel."""
    return {"apiVersion": API_VERSION, "kind": "BaseModel", "metadata": {"name": name}, "spec": {"source": source}}


def run(name: str, line: str = "cardiology", source: str = "pvc://datasets/rows.jsonl", **spec: Any) -> Manifest:
    """A FineTuneJob on CPU."""
    wanted = {
        "baseModel": {"name": "base"},
        "output": {"adapter": line},
        "dataset": {"source": source},
        "parallelism": {"accelerator": "CPU"},
    }
    return {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": {"name": name}, "spec": wanted | spec}
