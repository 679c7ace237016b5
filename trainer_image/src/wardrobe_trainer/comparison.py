"""Scores of a variant, from what each row came to. Torch is not needed here: who asks is not who measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe_contracts.assessment import Incumbent
from wardrobe_contracts.base import Record, Variant
from wardrobe_contracts.manifest import Comparison, Evaluation, IncumbentScores, Interval, Score

from . import bootstrap


class Counts(Record):
    """Tokens of each row's answers, and of their bodies."""

    whole: list[int]
    body: list[int]


class Sums(Record):
    """Negative log-likelihood (nats), summed over the same tokens of each row."""

    whole: list[float]
    body: list[float]


@dataclass(frozen=True)
class _Part:
    """Whole answers, or bodies."""

    counts: list[int]
    base: list[float]
    candidate: list[float]

    def score(self, sums: Sequence[float]) -> Score:
        """Token-weighted mean: the sum is divided once, so that batches and row lengths do not matter."""
        return Score.of(sum(sums), sum(self.counts))

    def difference(self, reference: Sequence[float]) -> Interval:
        return bootstrap.interval(
            [mine - other for mine, other in zip(self.candidate, reference, strict=True)], self.counts
        )

    def comparison(self) -> Comparison:
        return Comparison(
            base=self.score(self.base),
            candidate=self.score(self.candidate),
            difference=self.difference(self.base),
        )


def compare(
    variant: Variant,
    counts: Counts,
    base: Sums,
    candidate: Sums,
    incumbents: Sequence[tuple[Incumbent, Sums]] = (),
) -> Evaluation:
    """All on the same rows. Where the frame is all there is of every answer, the body is the answer."""
    framed = any(counts.body)
    whole = _Part(counts.whole, base.whole, candidate.whole)
    body = _Part(counts.body, base.body, candidate.body) if framed else whole
    return Evaluation(
        variant=variant,
        whole=whole.comparison(),
        body=body.comparison(),
        incumbents=[
            IncumbentScores(
                name=incumbent.name,
                digest=incumbent.digest,
                whole=whole.score(sums.whole),
                body=body.score(of_body := sums.body if framed else sums.whole),
                whole_difference=whole.difference(sums.whole),
                body_difference=body.difference(of_body),
            )
            for incumbent, sums in incumbents
        ],
    )
