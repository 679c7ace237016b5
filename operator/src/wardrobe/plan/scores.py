"""How scores are said, of a run and of an Adapter alike."""

from wardrobe.api.finetunejob import QuantizationSpec
from wardrobe_contracts.base import Variant


def trained_on(quantization: QuantizationSpec | None) -> Variant:
    """The variant whose scores stand for all; an import, of which nobody knows it, is shown on the plain base."""
    return quantization.type if quantization else Variant.NONE


def phrase(base: float, candidate: float) -> str:
    """Two losses and their relative difference: `4.07 → 2.48 (-39 %)`."""
    change = (candidate - base) / base if base else 0.0
    return f"{base:.2f} → {candidate:.2f} ({change:+.0%})"
