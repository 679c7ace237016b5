"""Where things are: in the store, and in the pods that the operator makes."""

STORE_CLAIM = "wardrobe-store"

BASE = "/wardrobe/base"
"""The base model's folder (train, assess)."""
MODELS = "/wardrobe/models"
"""The whole claim that should hold the base (inspect, which must be able to say that a folder is missing)."""
DATASETS = "/wardrobe/datasets"
"""The claim or ConfigMap that should hold the dataset (check)."""
ADAPTERS = "/wardrobe/adapters"
"""The claim that should hold the adapter's files (import)."""
VALIDATION = "/wardrobe/validation"
"""The same of the held-out set, where that has a file of its own (check)."""
RUN = "/wardrobe/run"
"""`runs/<run>` of the store."""
LINE = "/wardrobe/line"
"""`adapters/<line>` of the store (assess)."""
SCORES = "/wardrobe/scores"
"""`scores` of the store (assess)."""
NEW_MODELS = "/wardrobe/new-models"
"""`models/<name>` of the store (release)."""

STORE = "/wardrobe/store"
"""The whole store, read-only (agent, verify; assess, where there are incumbents)."""
CACHE = "/wardrobe/cache"
"""Adapters that the agent has verified; the engine reads them there."""
CONTROL = "/wardrobe/control"
"""What the agent orders of the engine's process, and what that says (agent, engine)."""
KEYS = "/wardrobe/keys"
"""`<department>/keys` (router)."""
MEMORY = "/wardrobe/memory"
"""The last routes that a router knew."""

CONFIG = "/wardrobe/config"
"""Small files of an attempt, such as DeepSpeed's configuration."""

CONFIG_VARIABLE = "WARDROBE_CONFIG"
"""Environment variable with a task's order as JSON."""
POD_UID_VARIABLE = "WARDROBE_POD_UID"
"""Environment variable with the uid of a task's pod, which what it leaves unfinished in the store is named by."""


def run_in_store(run: str) -> str:
    """Folder of a run inside the store."""
    return f"runs/{run}"


def trained_in_store(run: str, attempt: str) -> str:
    """Folder, inside the store, of the adapter that an attempt of a run has left."""
    return f"{run_in_store(run)}/{attempt}/adapter"


def line_in_store(line: str) -> str:
    """Folder of a line's artifacts inside the store."""
    return f"adapters/{line}"


def artifact_in_store(line: str, digest: str) -> str:
    """Folder of one published artifact inside the store."""
    return f"{line_in_store(line)}/{digest.removeprefix('sha256:')}"


SCORES_IN_STORE = "scores"
"""Folder, inside the store, of what was measured on rows, for whoever measures the same again."""


def models_in_store(name: str) -> str:
    """Folder, inside the store, of the models that runs have made under one name."""
    return f"models/{name}"


def model_in_store(name: str, digest: str) -> str:
    """Folder of one published model inside the store."""
    return f"{models_in_store(name)}/{digest.removeprefix('sha256:')}"
