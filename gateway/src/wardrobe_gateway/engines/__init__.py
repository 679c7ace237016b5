"""Engines behind one small protocol. Adding one means adding a file here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class EngineDownError(Exception):
    """The engine does not answer."""


class EngineBusyError(Exception):
    """The engine has more to do than it takes on; ask again."""


class EngineRefusedError(Exception):
    """The engine answered that it will not; asking again would not help."""


@dataclass(frozen=True)
class Tolerance:
    """How much an engine's scores may differ from recorded ones and still be the same."""

    noise: float
    """Mean absolute difference of log-probabilities per token (nats) between stacks."""
    relative: float
    """And this share of the adapter's own effect."""

    def allowed(self, separation: float) -> float:
        """For an adapter whose recorded effect is `separation` nats per token."""
        return self.noise + self.relative * separation

    @property
    def distinguishable(self) -> float:
        """The smallest effect that can be told from none: below it, `applied` and `not applied` overlap."""
        return 2 * self.noise / (1 - 2 * self.relative)


@dataclass(frozen=True)
class Token:
    """A token with its log-probability (natural) given all before it; None for the first of a text."""

    id: int
    logprob: float | None
    special: bool = False


@dataclass(frozen=True)
class Generation:
    """What was generated, and how the engine scored it while generating."""

    text: str
    tokens: list[Token]


class Engine(Protocol):
    """What the agent asks of an engine. A version of None is the base.

    All methods raise EngineDownError where nothing answers, EngineBusyError where it should be asked again, and
    EngineRefusedError with the engine's words otherwise.
    """

    tolerance: Tolerance
    paths: frozenset[str]
    """Requests that departments may make."""

    async def check(self) -> None:
        """Return when the engine is healthy."""
        ...

    async def loaded(self) -> frozenset[str]:
        """Versions it has now. After a restart there are none."""
        ...

    async def load(self, version: str, folder: Path) -> None:
        """Give it a version. Neither name nor folder was ever used for other bytes."""
        ...

    async def unload(self, version: str) -> None:
        """Take a version away; one that is not there is no error."""
        ...

    async def score(self, version: str | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        ...

    async def generate(self, version: str | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        ...

    def version_of(self, path: str, payload: dict[str, Any]) -> str | None:
        """Which version a department's request names."""
        ...
