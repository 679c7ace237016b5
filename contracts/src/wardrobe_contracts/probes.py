"""Probes: prompts and completions with recorded scores, by which an agent later proves which adapter answers."""

from pydantic import NonNegativeInt, PositiveInt

from .base import Digest, Record, Variant

PROBES_FILE = "probes.json"


class ProbeScores(Record):
    """Log-probability (natural log) of each completion token, given all before it."""

    base: list[float]
    adapter: list[float]


class Probe(Record):
    """One golden prompt with the completion that the adapter gives greedily on the unquantized base."""

    prompt: str
    """Rendered by the chat template, generation prompt included: sent to the engine as it is."""
    prompt_tokens: PositiveInt
    """Tokens of `prompt` under the base's tokenizer without added special tokens: where the completion begins."""
    completion: str
    completion_tokens: PositiveInt
    scores: dict[Variant, ProbeScores]


class Probes(Record):
    """The file beside an adapter. Not part of its digest: scores may be measured again on another variant."""

    adapter_digest: Digest
    base_digest: Digest
    seed: NonNegativeInt
    probes: list[Probe]
    indistinguishable: list[Variant] = []
    """Variants on which base and adapter score too much alike for a proof."""
