"""What probes.json is made of: golden prompts with the candidate's answers, and their scores on every variant."""

from wardrobe_contracts.base import Digest, Record, Variant
from wardrobe_contracts.engines import widest
from wardrobe_contracts.probes import Message, Probe, Probes, ProbeScores


class Question(Record):
    """What a person may ask, and how it is written for the base."""

    messages: list[dict[str, str]]
    prompt: str


class Draft(Record):
    """A question with its completion, not yet scored."""

    question: Question
    completion: str
    prompt_tokens: int
    ids: list[int]
    """Tokens of prompt and completion together, as an engine reads them."""


def difference(scores: list[ProbeScores]) -> float:
    """Mean absolute difference between base and adapter per token, over all completions."""
    pairs = [pair for item in scores for pair in zip(item.base, item.adapter, strict=True)]
    return sum(abs(base - adapter) for base, adapter in pairs) / len(pairs)


def provable(variant: Variant, scores: list[ProbeScores]) -> bool:
    """Whether every engine that serves a variant can tell from these which adapter answers."""
    pairs = (pair for item in scores for pair in zip(item.base, item.adapter, strict=True))
    return widest(variant).distinguishes([adapter - base for base, adapter in pairs])


def assemble(
    drafts: list[Draft], scores: dict[Variant, list[ProbeScores]], *, adapter: Digest, base: Digest, seed: int
) -> Probes:
    """The contents of probes.json."""
    return Probes(
        adapter_digest=adapter,
        base_digest=base,
        seed=seed,
        probes=[
            Probe(
                prompt=item.question.prompt,
                prompt_tokens=item.prompt_tokens,
                completion=item.completion,
                completion_tokens=len(item.ids) - item.prompt_tokens,
                prompt_ids=item.ids[: item.prompt_tokens],
                completion_ids=item.ids[item.prompt_tokens :],
                scores={variant: scores[variant][index] for variant in scores},
                messages=[Message.model_validate(message) for message in item.question.messages],
            )
            for index, item in enumerate(drafts)
        ],
        indistinguishable=[variant for variant in scores if not provable(variant, scores[variant])],
    )
