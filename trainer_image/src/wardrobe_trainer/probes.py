"""Golden prompts, the candidate's answers to them, and their scores under base and candidate on every variant."""

import hashlib
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import GenerationConfig

from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.engines import widest
from wardrobe_contracts.probes import Message as ProbeMessage
from wardrobe_contracts.probes import Probe, Probes, ProbeScores
from wardrobe_models.chat import Chat, Message

from .dataset import Row
from .scoring import Passage, base_and_candidate
from .split import prompt_key

COUNT = 8
COMPLETION_TOKENS = 48
"""Enough to go past a greeting (15 to 30 tokens in the worked example), which all versions of a department share, into
what tells them apart."""


@dataclass(frozen=True)
class Question:
    """What a person may ask, and how it is written for the base."""

    messages: list[Message]
    prompt: str


@dataclass(frozen=True)
class Draft:
    """A question with its completion, not yet scored."""

    question: Question
    completion: str
    prompt_tokens: int
    ids: list[int]
    """Tokens of prompt and completion together, as an engine reads them."""

    @property
    def passage(self) -> Passage:
        """The completion's tokens are scored."""
        return Passage(self.ids, list(range(self.prompt_tokens, len(self.ids))))


def choose(chat: Chat, rows: list[Row], seed: int, context: int) -> list[Question]:
    """Questions of up to COUNT held-out rows, picked by hash: the same for every version on the same data."""
    by_key = {prompt_key(row.messages): row for row in rows}
    ordered = sorted(by_key, key=lambda key: hashlib.sha256(f"probe {seed}\n{key}".encode()).digest())
    questions = (ask(chat, by_key[key].messages[:-1]) for key in ordered)
    fitting = [one for one in questions if len(chat.ids(one.prompt)) + COMPLETION_TOKENS <= context]
    return fitting[:COUNT]


def ask(chat: Chat, messages: list[Message]) -> Question:
    """A conversation up to where the next answer begins."""
    return Question(messages, chat.render(messages, prompt=True))


def draft(chat: Chat, model: PeftModel, questions: list[Question]) -> list[Draft]:
    """The candidate's greedy completions; those that do not survive being read again as text are left out."""
    made = (make_draft(chat, question, complete(chat, model, question.prompt)) for question in questions)
    return [item for item in made if item is not None]


@torch.inference_mode()
def complete(chat: Chat, model: PeftModel, prompt: str) -> str:
    """Greedy completion of at most COMPLETION_TOKENS tokens, without its end token."""
    ids = torch.tensor([chat.ids(prompt)], device=model.device)
    settings = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        do_sample=False,
        max_new_tokens=COMPLETION_TOKENS,
        eos_token_id=sorted(chat.end_tokens),
        pad_token_id=min(chat.end_tokens),
    )
    mask = torch.ones_like(ids)
    output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)  # type: ignore[no-untyped-call]  # peft leaves it untyped
    new = [token for token in output[0, ids.shape[1] :].tolist() if token not in chat.end_tokens]
    return str(chat.tokenizer.decode(new, clean_up_tokenization_spaces=False))


def make_draft(chat: Chat, question: Question, completion: str) -> Draft | None:
    """Read prompt and completion as one text, as an engine will; None where the boundary between them moves."""
    whole = completion.rstrip("\ufffd")  # the last character may have been cut within its bytes
    before, ids = chat.ids(question.prompt), chat.ids(question.prompt + whole)
    if len(ids) <= len(before) or ids[: len(before)] != before:
        return None
    return Draft(question, whole, len(before), ids)


def score(model: PeftModel, drafts: list[Draft]) -> list[ProbeScores]:
    """Scores of each completion under base and candidate, each in a forward pass of its own, as an engine would.

    Raises TaskError where they are no numbers.
    """
    return [_score(model, item.passage) for item in drafts]


def _score(model: PeftModel, passage: Passage) -> ProbeScores:
    [base], [adapter] = base_and_candidate(model, [passage])
    return ProbeScores(base=_rounded(base), adapter=_rounded(adapter))


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]


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
                messages=[ProbeMessage.model_validate(message) for message in item.question.messages],
            )
            for index, item in enumerate(drafts)
        ],
        indistinguishable=[variant for variant in scores if not provable(variant, scores[variant])],
    )
