"""JSON Schemas of the contracts, written to `contracts/schemas/`: `python -m wardrobe_contracts.schemas [--check]`."""

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from .assessment import AssessConfig
from .check import CheckConfig
from .inspection import InspectConfig
from .manifest import Manifest
from .probes import Probes
from .result import Result
from .routes import Routes
from .state import AgentState, RouterState
from .training import Progress, TrainConfig

PUBLISHED: tuple[type[BaseModel], ...] = (
    InspectConfig,
    CheckConfig,
    TrainConfig,
    AssessConfig,
    Progress,
    Result,
    Manifest,
    Probes,
    Routes,
    AgentState,
    RouterState,
)


def render() -> dict[str, str]:
    """File name to contents, for every published contract."""
    return {
        f"{model.__name__}.json": json.dumps(model.model_json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"
        for model in PUBLISHED
    }


def stale(folder: Path) -> list[str]:
    """Names of schema files that are missing, differ, or belong to no contract."""
    wanted = render()
    found = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main() -> None:
    """Write the schemas, or with `--check` fail where they are not current."""
    folder = Path(__file__).parents[2] / "schemas"
    if "--check" in sys.argv[1:]:
        if names := stale(folder):
            sys.exit(f"not current: {', '.join(names)}; run `make schemas`")
        return
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, text in render().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
