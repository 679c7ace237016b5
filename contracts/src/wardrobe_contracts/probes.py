"""Probes: prompts and completions with recorded scores, by which an agent later proves which adapter answers."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from .base import Digest, Record, Variant

PROBES_FILE = "probes.json"
MOST_PROBES = 64
"""In one file. An agent scores each of them, for every adapter, again and again; assess records 8."""
LEAST_LOG_PROBABILITY = -1e6
"""Nats. No model gives a token less, and sums of what is above stay numbers."""
MOST_LOG_PROBABILITY = 1.0
"""Nats. A certain token has 0, and float32 leaves it a little above."""

LogProbability = Annotated[float, Field(ge=LEAST_LOG_PROBABILITY, le=MOST_LOG_PROBABILITY)]


class ProbeScores(Record):
    """Log-probability (natural log) of each completion token, given all before it."""

    base: list[LogProbability]
    adapter: list[LogProbability]

    @model_validator(mode="after")
    def _of_the_same_tokens(self) -> Self:
        if len(self.base) != len(self.adapter):
            raise ValueError(f"{len(self.base)} scores of the base and {len(self.adapter)} of the adapter")
        return self


class Message(Record):
    """One message of a conversation."""

    role: str
    content: str


class Probe(Record):
    """One golden prompt with the completion that the adapter gives greedily on the variant that it was trained on."""

    prompt: str
    """Rendered by the chat template, generation prompt included: sent to the engine as it is."""
    prompt_tokens: PositiveInt
    """Tokens of `prompt` under the base's tokenizer without added special tokens: where the completion begins."""
    completion: str
    completion_tokens: PositiveInt
    prompt_ids: list[NonNegativeInt] | None = None
    """The prompt's token ids; None in files of before they were recorded."""
    completion_ids: list[NonNegativeInt] | None = None
    """The completion's, as they follow the prompt's when both are read as one text."""
    scores: dict[Variant, ProbeScores]
    messages: list[Message] | None = None
    """What `prompt` was rendered from; None in files of before it was recorded."""

    @model_validator(mode="after")
    def _as_long_as_it_says(self) -> Self:
        tokens = {self.completion_tokens, *(len(scores.base) for scores in self.scores.values())}
        if self.completion_ids is not None:
            tokens.add(len(self.completion_ids))
        if len(tokens) > 1:
            raise ValueError(f"completionTokens, completionIds and scores are of {sorted(tokens)} tokens")
        if self.prompt_ids is not None and len(self.prompt_ids) != self.prompt_tokens:
            raise ValueError(f"promptTokens is {self.prompt_tokens} and promptIds has {len(self.prompt_ids)}")
        return self


class Probes(Record):
    """The file beside an adapter. Not part of its digest: scores may be measured again on another variant."""

    adapter_digest: Digest
    base_digest: Digest
    seed: NonNegativeInt
    probes: Annotated[list[Probe], Field(max_length=MOST_PROBES)]
    indistinguishable: list[Variant] = []
    """Variants on which base and adapter score too much alike for a proof."""

    @model_validator(mode="after")
    def _all_on_the_same_variants(self) -> Self:
        if len({frozenset(probe.scores) for probe in self.probes}) > 1:
            raise ValueError("not every probe has scores on the same variants")
        return self
