"""What the asyncio side asks of the model's thread, and what comes back."""

import time
from dataclasses import dataclass, field
from enum import StrEnum

from .errors import EngineError


class FinishReason(StrEnum):
    """Why an answer ended, in TGI's words."""

    LENGTH = "length"
    EOS_TOKEN = "eos_token"  # noqa: S105 - no password
    STOP_SEQUENCE = "stop_sequence"


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens. The same seed gives the same draws for the same logits."""

    seed: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


@dataclass(eq=False)
class Generation:
    """One request. Set `cancelled` from any thread, and it stops before the next step."""

    prompt: list[int]
    adapter: str | None
    """Name of the adapter, None for the base."""
    max_new_tokens: int
    sampling: Sampling | None = None
    """None takes the likeliest token each time."""
    stop: tuple[str, ...] = ()
    score_prompt: bool = False
    cancelled: bool = False
    created: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class PromptScores:
    """Log-probability (natural log) of each prompt token but the first, given those before it."""

    logprobs: list[float]


@dataclass(frozen=True)
class End:
    """Why and where an answer is over."""

    reason: FinishReason
    tail: str
    """Text that was held back because it ended within a character."""
    cut: tuple[int, int] | None
    """Where the stop string begins and ends in the answer's text, in characters, tail included."""


@dataclass(frozen=True)
class Token:
    """One answer token."""

    id: int
    text: str
    """What it adds to the answer: nothing while a character is incomplete. Of a special token, its name."""
    logprob: float
    """Natural log, under the model's own distribution: temperature, top_k and top_p are left out."""
    special: bool
    end: End | None
    """Set on the last token."""


@dataclass(frozen=True)
class Failed:
    """No more will come."""

    error: EngineError


Event = PromptScores | Token | Failed
