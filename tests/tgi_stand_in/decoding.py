"""The shard's model: requests prefilled one by one, then decoded together, one token each a step."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache

from wardrobe_engine.adapter_files import AdapterWeights
from wardrobe_engine.generation import Sampling
from wardrobe_engine.lora import BASE_SLOT
from wardrobe_engine.model import Model
from wardrobe_engine.sampling import Drawer

from .facts import PREFIXES_KEPT
from .lora import Adapter, misread

Say = Callable[[dict[str, Any]], None]
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass
class Row:
    """One request."""

    asked: dict[str, Any]
    adapter: Adapter | None
    slot: int
    cache: DynamicCache | None = None
    made: list[int] = field(default_factory=list)
    text: str = ""
    drawer: Drawer | None = None

    @property
    def ids(self) -> list[int]:
        """Prompt and answer."""
        prompt: list[int] = self.asked["ids"]
        return prompt + self.made


class Decoder:
    """All rows of one model."""

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        ends: set[int],
        *,
        dtype: str,
        graphs: bool,
        prefix_block: int | None,
        say: Say,
    ) -> None:
        self.rows: list[Row] = []
        self._model = model
        self._tokenizer = tokenizer
        self._ends = ends
        self._type = TYPES[dtype]
        self._graphs = graphs
        self._say = say
        self._block = prefix_block
        self._kept: list[tuple[list[int], DynamicCache]] = []
        self._slots: dict[str, tuple[Adapter, int]] = {}

    def add_adapter(self, adapter: Adapter, share: float) -> None:
        """Give it a place in the model; `share` of its effect."""
        if not adapter.matrices or not adapter.fits:
            self._slots[adapter.name] = (adapter, BASE_SLOT)
            return
        scaled = {module: (a, b * share) for module, (a, b) in adapter.matrices.items()}
        rank = next(iter(scaled.values()))[0].shape[0]
        self._slots[adapter.name] = (adapter, self._model.add(AdapterWeights(path=None, rank=rank, matrices=scaled)))  # type: ignore[arg-type]  # not read

    def start(self, asked: dict[str, Any]) -> None:
        """Prefill a request. An adapter of an unknown name is the base (models/flash_causal_lm.py:569)."""
        adapter, slot = self._slots.get(asked["adapter"], (None, BASE_SLOT))
        if adapter is not None and not adapter.fits:
            raise RuntimeError("lora matrices of another width")
        sampling = asked["sampling"]
        row = Row(asked, adapter, slot, drawer=Drawer(Sampling(**sampling), self._model.device) if sampling else None)
        logits = self._prefill(row)
        if asked["prefill"]:
            self._say({"id": asked["id"], "prefill": [None, *self._scores(logits[:-1], row.ids[1:])]})
        self.rows.append(row)
        self._take(row, logits[-1])

    def step(self) -> None:
        """One more token for each row; all fail where TGI would read past a table."""
        if place := misread([row.adapter for row in self.rows]):
            error = "bgmv reads pointer {} of a table of {}".format(*place)
            for row in self.rows:
                self._say({"id": row.asked["id"], "error": f"Server error: {error}"})
            self.rows.clear()
        for row in [*self.rows]:
            slot = BASE_SLOT if self._graphs else row.slot
            logits, row.cache = self._model.prefill(row.made[-1:], slot, every_position=False, cache=row.cache)
            self._take(row, logits[-1])

    def _prefill(self, row: Row) -> torch.Tensor:
        """Logits of the prompt's positions. A cached beginning is whoever's came first, unless scores are asked for."""
        ids = row.ids
        if self._block is None or row.asked["prefill"]:
            logits, row.cache = self._model.prefill(ids, row.slot, every_position=row.asked["prefill"])
            return logits
        cache, known = self._known(ids)
        logits, row.cache = self._model.prefill(ids[known:], row.slot, every_position=False, cache=cache)
        whole = (len(ids) - 1) // self._block * self._block
        if whole > known:
            kept = copy.deepcopy(row.cache)
            kept.crop(whole - len(ids))  # so many fewer
            self._kept = [*self._kept[1 - PREFIXES_KEPT :], (ids[:whole], kept)]
        return logits

    def _known(self, ids: list[int]) -> tuple[DynamicCache | None, int]:
        found = [(len(known), cache) for known, cache in self._kept if known == ids[: len(known)]]
        if not found:
            return None, 0
        length, cache = max(found, key=lambda one: one[0])
        return copy.deepcopy(cache), length

    def _take(self, row: Row, logits: torch.Tensor) -> None:
        """The next token; the row leaves with its last."""
        scores = _penalized(logits, row)
        token = int(row.drawer.draw(scores) if row.drawer else scores.argmax())
        row.made.append(token)
        text = self._tokenizer.decode(row.made)
        reason = self._reason(row, token, text)
        self._say(
            {
                "id": row.asked["id"],
                "token": {
                    "id": token,
                    "text": text[len(row.text) :] or self._tokenizer.decode([token], skip_special_tokens=False),
                    "logprob": self._scores(scores[None], [token])[0],
                    "special": token in self._ends or self._tokenizer.decode([token]) == "",
                },
                "text": text,
                "end": reason,
            }
        )
        row.text = text
        if reason:
            self.rows.remove(row)

    def _reason(self, row: Row, token: int, text: str) -> str | None:
        if len(row.made) >= row.asked["max"]:
            return "length"
        if token in self._ends:
            return "eos_token"
        return "stop_sequence" if any(text.endswith(stop) for stop in row.asked["stop"]) else None

    def _scores(self, logits: torch.Tensor, tokens: list[int]) -> list[float | None]:
        """Rounded to the model's type; None for what is no number, as JSON has it."""
        chosen = logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        rounded: list[float] = chosen.to(self._type).float().tolist()
        return [score if math.isfinite(score) else None for score in rounded]


def _penalized(logits: torch.Tensor, row: Row) -> torch.Tensor:
    """utils/logits_process.py: of every token that prompt or answer has."""
    penalty = row.asked["repetition"]
    if penalty == 1.0:
        return logits
    seen = torch.tensor(sorted(set(row.ids)))
    scores = logits.clone()
    found = scores[seen]
    scores[seen] = torch.where(found < 0, found * penalty, found / penalty)
    return scores
