"""Waiting in the demo: for what is finished, and not for what needs a person."""

from dataclasses import dataclass, field

import pytest
from demo import acts, story
from demo.console import DemoError
from demo.story import Observed


@dataclass
class Shown:
    """A cluster that shows one state after the other, and the last one for ever."""

    states: list[Observed]
    looks: int = field(default=0)

    def observe(self) -> Observed:
        self.looks += 1
        return self.states[min(self.looks, len(self.states)) - 1]


def deployment(ready: str) -> Observed:
    stalled = "True" if ready == "False" else "False"
    conditions = [{"type": "Ready", "status": ready}, {"type": "Stalled", "status": stalled, "message": "no keys"}]
    status = {"observedGeneration": 1, "conditions": conditions}
    item = {"kind": "AdapterDeployment", "metadata": {"name": "tantanila", "generation": 1}, "status": status}
    return Observed((item,))


def wait(patience: float, *states: Observed) -> None:
    acts.wait(
        Shown(list(states)).observe,
        lambda seen: seen.condition("AdapterDeployment", "tantanila", "Ready")[0] == "True",
        lambda _: "waiting",
        lambda seen: story.failure(seen, "AdapterDeployment", "tantanila"),
        patience,
        every=0.0,
    )


def test_what_needs_a_person_ends_the_wait_with_its_message() -> None:
    with pytest.raises(DemoError, match="AdapterDeployment tantanila failed: no keys"):
        wait(0.0, deployment("Unknown"), deployment("False"))
    with pytest.raises(DemoError, match="no keys"):
        wait(0.01, deployment("False"))


def test_trouble_that_may_pass_is_waited_out() -> None:
    """Keys that the demo has just made reach the routers after a while."""
    wait(60.0, deployment("False"), deployment("Unknown"), deployment("True"))
