"""Engines behind one small protocol. Adding one means adding a file here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

from wardrobe_contracts.engines import EngineFacts, Loading
from wardrobe_contracts.probes import Message
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


class EngineInvalidError(EngineRejectedError):
    """It takes no such request, as of one that is longer than it has room for."""


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


@dataclass(frozen=True)
class ChatPrompt:
    """A chat's prompt as the engine renders and reads it."""

    tokens: int
    ids: Sequence[int] | None = None
    """Where the engine says them."""


@dataclass(frozen=True)
class StreamError:
    """What an engine says in a stream's first event, where it should have been a status."""

    status: int
    message: str


class Engine(Protocol):
    """What the agent asks of every engine. An adapter of None is the base.

    All that is awaited raises EngineDownError where nothing answers, EngineBusyError where it should be asked again,
    and EngineRejectedError with the engine's words otherwise.
    """

    facts: EngineFacts
    lost: frozenset[int]
    """Statuses of a request's answer by which the engine says that it has no adapter of that name."""

    own_metrics: str
    """How the names of its own families begin at `/metrics`; others there are of its language, process or HTTP."""

    async def check(self) -> None:
        """Return when the engine is healthy."""
        ...

    def error_in(self, event: bytes) -> StreamError | None:
        """What the first event of a stream says in a status's stead; None where the answer has begun."""
        ...

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        ...

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        ...

    async def chat_prompt(self, name: EngineAdapterName, messages: Sequence[Message]) -> ChatPrompt:
        """A chat's prompt, for the cost of one token."""
        ...

    async def steps(self) -> frozenset[bytes]:
        """Lines of its metrics that are others whenever its model has made a step, and stay the same otherwise."""
        ...


class LoadsAtRunTime(Engine, Protocol):
    """And what it asks of one that takes adapters, and gives them back, while it runs."""

    async def loaded(self) -> frozenset[EngineAdapterName]:
        """Adapters it has now. After a restart there are none."""
        ...

    async def load(self, name: EngineAdapterName, folder: Path) -> None:
        """Give it an adapter. Neither name nor folder was ever used for other bytes."""
        ...

    async def unload(self, name: EngineAdapterName) -> None:
        """Take an adapter away, and return when its last request has finished; one that is not there is no error."""
        ...


def loads_at_run_time(engine: Engine) -> TypeGuard[LoadsAtRunTime]:
    """By its facts."""
    return engine.facts.loading is Loading.AT_RUN_TIME
