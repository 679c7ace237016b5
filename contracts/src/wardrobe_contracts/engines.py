"""Inference servers: what each offers, known once to operator and agent. Adding one: a member and its facts here, its
container in `operator/src/wardrobe/engines`, its requests in `gateway/src/wardrobe_gateway/engines`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EngineType(StrEnum):
    """`spec.engine.type` of an AdapterDeployment."""

    TRANSFORMERS = "Transformers"


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
class Request:
    """A kind of request that departments may make. Fields inside an object are written `parameters.seed`."""

    adapter_field: str
    """The field that names the adapter, as the engine knows it."""
    fields: frozenset[str]
    """All that a department may send, that field left out."""

    def adapter_in(self, payload: Mapping[str, Any]) -> str | None:
        """Which adapter a request names."""
        object_, _, name = self.adapter_field.rpartition(".")
        within = payload.get(object_) if object_ else payload
        named = within.get(name) if isinstance(within, Mapping) else None
        return named if isinstance(named, str) else None

    def forbidden_in(self, payload: Mapping[str, Any]) -> str | None:
        """The name of a field that departments may not send, or None. One that is off asks for nothing."""
        sent = (name for name, value in _fields(payload) if value is not None and value is not False)
        outside = (name for name in sent if name not in self.fields and name != self.adapter_field)
        return next((name.rpartition(".")[2] for name in outside), None)


@dataclass(frozen=True)
class EngineFacts:
    """What is known of an engine without asking it."""

    batch: int
    """Requests that it decodes together. The agent lets no more in: they would wait where nobody takes turns."""
    requests: Mapping[str, Request]
    """By path."""
    tolerance: Tolerance


OBJECTS = ("parameters", "stream_options")
"""Fields of a request that hold settings."""


def _fields(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in payload.items():
        if name in OBJECTS and isinstance(value, dict):
            yield from ((f"{name}.{inner}", inside) for inner, inside in value.items())
        else:
            yield name, value


_CHAT = Request(
    adapter_field="model",
    fields=frozenset(
        {"messages", "stream", "stream_options.include_usage", "max_tokens", "max_completion_tokens"}
        | {"temperature", "top_p", "seed", "stop"}
    ),
)
_TEXT = Request(
    adapter_field="parameters.adapter_id",
    fields=frozenset(
        {"inputs"}
        | {f"parameters.{name}" for name in ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "seed")}
        | {f"parameters.{name}" for name in ("stop", "return_full_text", "details")}
    ),
)
"""Without `decoder_input_details`: scores of a prompt cost a batch's memory for one row, and are for proofs."""

ENGINES: Mapping[EngineType, EngineFacts] = {
    EngineType.TRANSFORMERS: EngineFacts(
        batch=32,
        requests={"/v1/chat/completions": _CHAT, "/generate": _TEXT, "/generate_stream": _TEXT},
        # Engines compute in bfloat16, whose 8 significant bits round a logit of 16 by up to 0.03; two stacks then
        # disagree by about 0.02 per token on average (reference/engines.md, H: of the order of 1e-2), and twice that is
        # allowed. A tenth of the adapter's effect on top, since large effects move unlikely tokens, whose scores are
        # the least exact. Measured on CPU, where both stacks compute in float32 (tests/gateway/
        # test_with_real_engine.py): 0.000 on None and NF4, at most 0.004 on INT8, whose inputs are quantized too, and
        # there at most 0.018 between decode and prefill. The smallest effect that can be told from none is then 0.1.
        tolerance=Tolerance(noise=0.04, relative=0.1),
    ),
}
