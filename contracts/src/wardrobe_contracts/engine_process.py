"""What an agent orders of the engine's process beside it, and what the wrapper that runs it says of it.

Three files in a folder that both mount, each replaced by rename. The wrapper reads and writes them as plain JSON.
"""

from pydantic import Field

from .base import Digest, Exchanged, Record
from .routes import EngineAdapterName

ORDER_FILE = "order.json"
"""Written by the agent."""
STATE_FILE = "process.json"
"""Written by the wrapper."""
HUNG_FILE = "hung.json"
"""Written by the agent."""


class Start(Record):
    """How the engine is started."""

    engine_set: Digest | None = None
    """The set of adapters that the environment names; None for an engine that takes them while it runs."""
    environment: dict[str, str] = Field(default_factory=dict)
    """On top of the container's own."""


class ProcessOrder(Exchanged):
    """What should run. Another `start` than the one that runs means: stop it, and start this."""

    start: Start
    fallback: Start | None = None
    """The set before. Started where `start` ends by itself before it is accepted, and ordered again where it does so
    for the second time before it is proved. None once all of `start` was."""
    accepted: bool = False
    """The agent has seen `start` answer. From then on its end is the container's, which the kubelet starts anew."""
    proved: bool = False
    """Not on trial any more: all of `start` that is still wanted has had a verdict since it was accepted, or that took
    too long. Nor is a set that is gone back to. The wrapper does not ask for it."""
    unproved: list[EngineAdapterName] = Field(default_factory=list)
    """Of a `start` that is proved: members that had no verdict and were not to be had just then. Once one of them is,
    `start` is on trial again."""
    ended_before: str | None = None
    """Incarnation of the process that had ended last when this was ordered: its end says nothing of this order."""


class Ended(Record):
    """How an engine's process ended by itself."""

    incarnation: str | None = None
    """None where none was started: the wrapper refused to."""
    engine_set: Digest | None = None
    code: int
    """Its exit code, or the negative number of the signal that ended it."""
    message: str = ""
    """The last lines that it wrote."""


class ProcessState(Exchanged):
    """What runs."""

    incarnation: str | None = None
    """Another for every process; None while none runs."""
    engine_set: Digest | None = None
    """What the process was started with."""
    ended: Ended | None = None
    """The last end that was not ordered; None once another set was ordered and started."""


class Hung(Exchanged):
    """A process that gives no sign of life any more: kill it, and all that has come of it."""

    incarnation: str
    """What runs is another by the time this is read, or this one: only this one is meant."""
    message: str = ""
    """What was seen of it."""
