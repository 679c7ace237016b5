"""How much an engine's scores may differ from recorded ones and still be the same, by variant and precision.

`make bench-tolerance` measures a row. Where a row was not measured, its source says what it was taken from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..base import Variant

CERTAIN = 5.0
"""Standard deviations that no proof crosses: one in 1.7 million does, on either side."""
_VARIANCE = math.pi / 2
"""Of a normal distribution whose mean absolute value is 1."""
_STRAYS = CERTAIN * math.sqrt(_VARIANCE - 1)
"""How far, in parts of itself, the mean absolute value of one token may stray; of N tokens √N times less."""


class Precision(StrEnum):
    """In what an engine computes, beside the weights of its variant."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Tolerance:
    """How much two stacks disagree by.

    Assumed of a token's score: the two stacks' disagreement is normally distributed around 0 with a mean absolute
    value of at most `noise`; that of another token, and of the same one with an adapter, is independent of it. (What
    drops out of an effect because base and adapter are off alike only makes a proof surer.)
    """

    noise: float
    """Nats per token, mean of absolute differences."""
    relative: float
    """The same for the part that grows with the adapter's effect on the token: an unlikely token's score is the least
    exact."""
    source: str = ""
    """Where the two come from."""

    def allowed(self, separation: float, tokens: int) -> float:
        """Mean absolute difference of effects (nats per token) up to which they are the same.

        An effect is a difference of two scores, hence √2. `separation` is the recorded effect's mean absolute value.
        """
        return math.sqrt(2) * self._noise_of(tokens) + self.relative * separation

    def allowed_in_decode(self, tokens: int) -> float:
        """Mean absolute difference (nats per token) between scores of generated tokens and those in one prefill.

        It is of two scores of one engine, and of tokens that were the likeliest.
        """
        return self._noise_of(tokens)

    def _noise_of(self, tokens: int) -> float:
        """What the mean over so many tokens never exceeds."""
        return self.noise * (1 + _STRAYS / math.sqrt(max(tokens, 1)))

    def variance(self, effect: float) -> float:
        """Of the difference between the effect found on a token and the recorded one (nats²)."""
        return _VARIANCE * (2 * self.noise**2 + (self.relative * effect) ** 2)

    def share_noise(self, effect: Sequence[float]) -> float:
        """Standard deviation of the share that is found of an effect (nats by token), √(Σ e²·var(e)) / Σ e².

        With `relative` 0 that is √2·s / √(Σ e²), s being a score's standard deviation: it falls with the effect and
        the root of the tokens, while a mean distance stays at √2·noise however many there are. Infinite for no effect.
        """
        energy = sum(value * value for value in effect)
        if not energy:
            return math.inf
        return math.sqrt(sum(value * value * self.variance(value) for value in effect)) / energy

    def distinguishes(self, effect: Sequence[float]) -> bool:
        """Whether an adapter with this recorded effect can be proved: all, half and none of it never look alike."""
        return 2 * CERTAIN * self.share_noise(effect) <= 1 / 2


Tolerances = Mapping[tuple[Variant, Precision], Tolerance]
"""An engine's. What has no row is not served."""

_STACKS = (
    "not measured on a GPU: bfloat16 stacks differ by 0.01 to 0.05 (vllm-project/vllm#18352, ServiceNow/Fast-LLM#525); "
    "torch's bfloat16 on CPU by 0.01 from float32 (5.7M Llama)"
)
_BFLOAT16 = Tolerance(noise=0.05, relative=0.03, source=_STACKS)
_BFLOAT16_INT8 = Tolerance(noise=0.05, relative=0.05, source=f"{_STACKS}; INT8 rounds inputs too, by their size")
_TGI = Tolerance(
    noise=0.05,
    relative=0.03,
    source="TGI 3.3.7 in bfloat16 on CPU, base as stored: 0.01 to 0.04 under adapters, 0.01 without; decode against "
    "prefill up to 0.01; NF4 0.016; FP4 not measured, as NF4",
)
_FLOAT32 = Tolerance(
    noise=0.005,
    relative=0.02,
    source="make bench-tolerance on CPU, 5.7M Llama: 0.0000, the same operations in the same order",
)
_FLOAT32_INT8 = Tolerance(
    noise=0.03,
    relative=0.03,
    source="make bench-tolerance on CPU, 5.7M Llama: 0.003, as inputs are quantized too; decode against prefill 0.013",
)
_VLLM_FLOAT32 = Tolerance(
    noise=0.02,
    relative=0.03,
    source="make bench-tolerance, vLLM 0.32.0 on CPU, 5.7M Llama: 0.0000; wider, as its kernels are not the trainer's",
)

TRANSFORMERS: Tolerances = {
    (Variant.NONE, Precision.FLOAT32): _FLOAT32,
    (Variant.NF4, Precision.FLOAT32): _FLOAT32,
    (Variant.FP4, Precision.FLOAT32): _FLOAT32,
    (Variant.INT8, Precision.FLOAT32): _FLOAT32_INT8,
    (Variant.NONE, Precision.BFLOAT16): _BFLOAT16,
    (Variant.NF4, Precision.BFLOAT16): _BFLOAT16,
    (Variant.FP4, Precision.BFLOAT16): _BFLOAT16,
    (Variant.INT8, Precision.BFLOAT16): _BFLOAT16_INT8,
}
TGI: Tolerances = {
    (Variant.NONE, Precision.BFLOAT16): _TGI,
    (Variant.NF4, Precision.BFLOAT16): _TGI,
    (Variant.FP4, Precision.BFLOAT16): _TGI,
    (Variant.INT8, Precision.BFLOAT16): _BFLOAT16_INT8,
}
VLLM: Tolerances = {
    (Variant.NONE, Precision.FLOAT32): _VLLM_FLOAT32,
    (Variant.NONE, Precision.BFLOAT16): _BFLOAT16,
}
