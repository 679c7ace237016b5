"""The story's acts, and from what the cluster says, which of them are over. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

Resource = dict[str, Any]

BASE = "tantanila-base"
RUNS = ("cardiology", "paediatrics")
SECOND_RUN = "cardiology-2"
DEPLOYMENT = "tantanila"
DEPARTMENT = "cardiology"
"""The department that changes its adapter."""
DEPARTMENTS = ("cardiology", "paediatrics")
FIRST = "cardiology-v1"
"""The adapter that examples/tantanila/adapterdeployment.yaml names for it."""


class Act(Enum):
    """In the order in which they are told."""

    BASE = "A base model, frozen"
    TRAIN = "Two departments teach it their voice"
    DEPLOY = "One engine answers for both"
    ASK = "The same question, three times"
    TRAIN_AGAIN = "Cardiology trains again, with other settings"
    POINT = "Cardiology is pointed at its new adapter"
    ROLL_BACK = "And put back, while people are asking"


@dataclass(frozen=True)
class Observed:
    """The story's resources, as `kubectl get bm,ftj,adapters,adp -o json` lists them."""

    items: tuple[Resource, ...] = ()

    def find(self, kind: str, name: str) -> Resource | None:
        """One of them."""
        wanted = (kind, name)
        return next((item for item in self.items if (item["kind"], item["metadata"]["name"]) == wanted), None)

    def condition(self, kind: str, name: str, type_: str) -> tuple[str, str]:
        """Status and message of a condition of its newest spec; Unknown where the operator has not said it yet."""
        item = self.find(kind, name) or {}
        status = item.get("status", {})
        if status.get("observedGeneration") != item.get("metadata", {}).get("generation"):
            return "Unknown", "the operator has not looked at it yet"
        conditions: list[Resource] = status.get("conditions", [])
        found = next((one for one in conditions if one["type"] == type_), {})
        return found.get("status", "Unknown"), found.get("message", "")

    def adapter_of(self, run: str) -> str | None:
        """The Adapter that a run has made."""
        item = self.find("FineTuneJob", run) or {}
        made: str | None = item.get("status", {}).get("adapter")
        return made if self.condition("FineTuneJob", run, "Succeeded")[0] == "True" else None

    @property
    def department(self) -> Resource:
        """How the department that changes adapters stands: adapter, wanted, previous."""
        item = self.find("AdapterDeployment", DEPLOYMENT) or {}
        found: Resource = item.get("status", {}).get("departments", {}).get(DEPARTMENT, {})
        return found

    def answering(self, adapter: str) -> bool:
        """Whether all routers send that department's requests to this Adapter, and nothing else is asked for."""
        applied = self.condition("AdapterDeployment", DEPLOYMENT, "RoutesApplied")[0] == "True"
        return applied and self.department.get("adapter") == self.department.get("wanted") == adapter


def next_act(seen: Observed) -> Act | None:
    """The first act that is not over; None after the last. The question is asked for its own sake, and is left out."""
    return next((act for act in Act if act is not Act.ASK and ending(act, seen) is None), None)


def ending(act: Act, seen: Observed) -> str | None:
    """How an act ended, in one line; None while it is not over."""
    return _ENDINGS[act](seen)


def _base(seen: Observed) -> str | None:
    if seen.condition("BaseModel", BASE, "Ready")[0] != "True":
        return None
    summary = (seen.find("BaseModel", BASE) or {})["status"].get("summary", "")
    return f"BaseModel {BASE} is Ready: {summary}"


def _trained(*runs: str) -> Callable[[Observed], str | None]:
    def told(seen: Observed) -> str | None:
        if not all(seen.adapter_of(run) for run in runs):
            return None
        return "; ".join(_score(seen, run) for run in runs)

    return told


def _score(seen: Observed, run: str) -> str:
    status = (seen.find("FineTuneJob", run) or {})["status"]
    return f"FineTuneJob {run} made {status['adapter']}, loss on the rows kept out {status.get('score', 'not known')}"


def _deployed(seen: Observed) -> str | None:
    if seen.condition("AdapterDeployment", DEPLOYMENT, "Ready")[0] != "True":
        return None
    status = (seen.find("AdapterDeployment", DEPLOYMENT) or {})["status"]
    return f"AdapterDeployment {DEPLOYMENT} answers at {status.get('url')}: {status.get('live')}"


def _pointed(seen: Observed) -> str | None:
    second = seen.adapter_of(SECOND_RUN)
    if second is None:
        return None
    if seen.answering(second):
        return f"{DEPARTMENT} is answered by {second}"
    return f"{DEPARTMENT} was answered by {second}" if second in seen.department.get("previous", []) else None


def _rolled_back(seen: Observed) -> str | None:
    second = seen.adapter_of(SECOND_RUN)
    if _pointed(seen) is None or second is None or not seen.answering(FIRST):
        return None
    return f"{DEPARTMENT} is answered by {FIRST} again; {second} stays loaded"


_ENDINGS: dict[Act, Callable[[Observed], str | None]] = {
    Act.BASE: _base,
    Act.TRAIN: _trained(*RUNS),
    Act.DEPLOY: _deployed,
    Act.ASK: lambda _: None,
    Act.TRAIN_AGAIN: _trained(SECOND_RUN),
    Act.POINT: _pointed,
    Act.ROLL_BACK: _rolled_back,
}


def failure(seen: Observed, kind: str, *names: str) -> str | None:
    """What went wrong so that a person is needed, and where to read more."""
    for name in names:
        stalled, message = seen.condition(kind, name, "Stalled")
        if stalled == "True":
            return f"{kind} {name} failed: {message}"
    return None


def run_progress(seen: Observed, runs: tuple[str, ...]) -> str:
    """How far runs are, in one line."""
    return " · ".join(f"{run}: {_run_progress(seen, run)}" for run in runs)


def _run_progress(seen: Observed, run: str) -> str:
    """The summary, and what a run waits for in a word."""
    item = seen.find("FineTuneJob", run) or {}
    summary: str = item.get("status", {}).get("progress", {}).get("summary", "waiting for the operator")
    conditions: list[Resource] = item.get("status", {}).get("conditions", [])
    reason = next((one.get("reason") for one in conditions if one["type"] == "Succeeded"), None)
    return f"{summary} ({reason})" if reason and summary.startswith("waiting:") else summary


def waiting_for(seen: Observed, kind: str, name: str, *types: str) -> str:
    """The message of the first condition that is not true yet."""
    for type_ in types:
        status, message = seen.condition(kind, name, type_)
        if status != "True":
            return message or f"waiting for {type_}"
    return "done"
