"""What is known of an inference server without asking it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..base import Variant
from .tolerances import Precision, Tolerance, Tolerances


class EngineType(StrEnum):
    """`spec.engine.type` of an AdapterDeployment."""

    TRANSFORMERS = "Transformers"
    TGI = "TGI"
    VLLM = "VLLM"


class Loading(StrEnum):
    """How an engine comes by its adapters."""

    AT_RUN_TIME = "AtRunTime"
    """One by one, while it serves."""
    AT_START = "AtStart"
    """All at once: another set is another process."""


@dataclass(frozen=True)
class Request:
    """A kind of request that departments may make. Fields inside an object are written `parameters.seed`."""

    adapter_field: str
    """The field that names the adapter, as the engine knows it."""
    fields: frozenset[str]
    """All that a department may send and the engine is told, that field left out."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Written into a request that does not say otherwise, where the engine's own would make another text of it."""
    neutral: Mapping[str, Any] = field(default_factory=dict)
    """Values that ask for nothing: clients write them out. The engine is not told them."""
    unheeded: frozenset[str] = frozenset()
    """Fields that ask for nothing, whatever they hold."""
    implied: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Fields that are true where they are not given and one of these is, whatever it holds: the other engines take it
    so, and this one is told."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Fields that departments may send to other engines, and what this one would make of them."""
    superseded: Mapping[str, str] = field(default_factory=dict)
    """Fields that mean the same as others, which this engine does not take beside each other: the other one is sent."""

    def adapter_in(self, payload: Mapping[str, Any]) -> str | None:
        """Which adapter a request names."""
        object_, _, name = self.adapter_field.rpartition(".")
        within = payload.get(object_) if object_ else payload
        named = within.get(name) if isinstance(within, Mapping) else None
        return named if isinstance(named, str) else None

    def forbidden_in(self, payload: Mapping[str, Any]) -> str | None:
        """The name of a field that departments may not send, or None. One that is off asks for nothing."""
        outside = (name for name, value in _fields(payload) if not self._told(name) and not self._idle(name, value))
        return next((name.rpartition(".")[2] for name in outside), None)

    def why_forbidden(self, name: str) -> str:
        """Of a field that `forbidden_in` named: the rule."""
        return self.withheld.get(name, f"{name} is not for departments")

    def prepared(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A request without forbidden fields as the engine gets it; the same object where that changes nothing."""
        sent = dict(_fields(payload))
        dropped = self._doubles(sent)
        kept = {
            name: value
            for name, value in sent.items()
            if self._told(name) and not self._neutral(name, value) and name not in dropped
        }
        wanted = {**self.defaults, **self._implied_by(sent)}
        missing = {name: value for name, value in wanted.items() if kept.get(name) is None}
        return payload if not missing and len(kept) == len(sent) else _payload(kept | missing)

    def _implied_by(self, sent: Mapping[str, Any]) -> dict[str, bool]:
        return {name: True for name, by in self.implied.items() if any(sent.get(one) is not None for one in by)}

    def _doubles(self, sent: Mapping[str, Any]) -> set[str]:
        """Of each two fields of one meaning the one that is not sent: null says nothing."""
        pairs = [(lesser, other) for lesser, other in self.superseded.items() if lesser in sent and other in sent]
        return {other if sent[other] is None else lesser for lesser, other in pairs}

    def _told(self, name: str) -> bool:
        return name in self.fields or name == self.adapter_field

    def _idle(self, name: str, value: Any) -> bool:
        return value is None or value is False or name in self.unheeded or self._neutral(name, value)

    def _neutral(self, name: str, value: Any) -> bool:
        """As JSON: `true` is no 1."""
        return name in self.neutral and not isinstance(value, bool) and value == self.neutral[name]


@dataclass(frozen=True)
class EngineFacts:
    """What is known of an engine without asking it."""

    loading: Loading
    batch: int
    """Requests that it decodes together. The agent lets no more in: they would wait where nobody takes turns."""
    requests: Mapping[str, Request]
    """By path."""
    tolerances: Tolerances
    checks_base: bool = False
    """Whether it makes sure itself that the base's files are those that were inspected."""
    finds_gpu: bool = False
    """Whether it computes on any GPU that it finds, without being told."""

    @property
    def precision(self) -> Precision:
        """What it computes in on a CPU, where it can choose."""
        return min((precision for _, precision in self.tolerances), key=[*Precision].index)

    def tolerance(self, variant: Variant, precision: Precision) -> Tolerance:
        """By what its proofs are judged. Raises ValueError where it does not serve that."""
        if (found := self.tolerances.get((variant, precision))) is None:
            known = ", ".join(sorted(f"{variant} in {precision}" for variant, precision in self.tolerances))
            raise ValueError(f"{variant} in {precision} is nothing that this engine serves: it serves {known}")
        return found


CHAT_FIELDS = frozenset(
    {"messages", "stream", "stream_options.include_usage", "max_tokens", "max_completion_tokens"}
    | {"temperature", "top_p", "seed", "stop"}
)
"""Of chat completions: what departments may send to any engine, so that they can move to another; TGI withholds one."""
GENERATE_FIELDS = frozenset(
    {"inputs"}
    | {f"parameters.{name}" for name in ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "seed")}
    | {f"parameters.{name}" for name in ("stop", "return_full_text", "details")}
)
"""Of TGI's own requests, the same."""
OPENAI_NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "response_format": {"type": "text"},
}
"""Of chat completions: settings that no engine here has, at OpenAI's defaults, which its clients may write out."""
OPENAI_UNHEEDED = frozenset({"user"})
"""Of chat completions: said for the provider's records."""

OBJECTS = ("parameters", "stream_options")
"""Fields of a request that hold settings."""


def _fields(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values. A name that has a dot itself is none of ours: it must not pass for a field inside an object."""
    for name, value in payload.items():
        if name in OBJECTS and isinstance(value, dict):
            yield from ((f"{name}.{inner}", inside) for inner, inside in value.items())
        else:
            yield f".{name}" if "." in name else name, value


def _payload(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request that has these fields."""
    payload: dict[str, Any] = {}
    for name, value in fields.items():
        object_, _, inner = name.rpartition(".")
        (payload.setdefault(object_, {}) if object_ else payload)[inner] = value
    return payload
