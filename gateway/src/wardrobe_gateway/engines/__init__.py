"""Engines behind one small protocol. Adding one means adding a file here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wardrobe_contracts.engines import EngineFacts
from wardrobe_contracts.routes import EngineAdapterName


class EngineDownError(Exception):
    """The engine does not answer."""


class EngineGoneError(EngineDownError):
    """Nothing listens where the engine was: its process has ended."""


class EngineSilentError(EngineDownError):
    """No answer in time. It may be busy."""


class EngineBusyError(Exception):
    """The engine has more to do than it takes on; ask again."""


class EngineRejectedError(Exception):
    """The engine answered that it will not; asking again would not help."""


class EngineLacksError(EngineRejectedError):
    """It has nothing of that name."""


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
    """What the agent asks of an engine. An adapter of None is the base.

    All methods raise EngineDownError where nothing answers, EngineBusyError where it should be asked again, and
    EngineRejectedError with the engine's words otherwise.
    """

    facts: EngineFacts

    async def check(self) -> None:
        """Return when the engine is healthy."""
        ...

    async def loaded(self) -> frozenset[EngineAdapterName]:
        """Adapters it has now. After a restart there are none."""
        ...

    async def load(self, name: EngineAdapterName, folder: Path) -> None:
        """Give it an adapter. Neither name nor folder was ever used for other bytes."""
        ...

    async def unload(self, name: EngineAdapterName) -> None:
        """Take an adapter away, and return when its last request has finished; one that is not there is no error."""
        ...

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        ...

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        ...
