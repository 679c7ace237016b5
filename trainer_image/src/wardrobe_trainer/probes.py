"""Golden prompts, the candidate's answers to them, and their scores under base and candidate on one variant."""

import hashlib
from collections.abc import Iterable
from itertools import islice

import torch
from peft import PeftModel
from transformers import GenerationConfig

from wardrobe_contracts.probes import ProbeScores
from wardrobe_models.chat import Chat, Message

from .dataset import TEXT, Row
from .drafts import Draft, Question
from .scoring import Passage, base_and_candidate
from .split import prompt_key

COUNT = 8
CONSIDERED = 1024
"""Questions that are held at a time, those that are asked first; of them, ones that are too long are passed over."""
FIRST_WORDS = 12
"""Of a text that a probe is made of."""
COMPLETION_TOKENS = 48
"""Enough to go past a greeting (15 to 30 tokens in the worked example), which all versions of a department share, into
what tells them apart."""


def choose(chat: Chat, rows: Iterable[Row], seed: int, context: int) -> list[Question]:
    """Questions of up to COUNT held-out rows, picked by hash: the same for every version on the same data."""
    lowest: dict[bytes, Row] = {}
    for row in rows:
        lowest[hashlib.sha256(f"probe {seed}\n{prompt_key(row.messages)}".encode()).digest()] = row
        if len(lowest) == 2 * CONSIDERED:
            lowest = {key: lowest[key] for key in sorted(lowest)[:CONSIDERED]}
    questions = (ask(chat, question_of(lowest[key])) for key in sorted(lowest))
    fitting = (one for one in questions if len(chat.ids(one.prompt)) + COMPLETION_TOKENS <= context)
    return list(islice(fitting, COUNT))


def question_of(row: Row) -> list[Message]:
    """What is before its last answer; a text, which answers nothing, is asked for by its beginning."""
    if row.messages[0]["role"] != TEXT:
        return row.messages[:-1]
    return [{"role": "user", "content": " ".join(row.answer.split()[:FIRST_WORDS])}]


def ask(chat: Chat, messages: list[Message]) -> Question:
    """A conversation up to where the next answer begins."""
    return Question(messages=messages, prompt=chat.render(messages, prompt=True))


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
    return Draft(question=question, completion=whole, prompt_tokens=len(before), ids=ids)


def score(model: PeftModel, drafts: list[Draft]) -> list[ProbeScores]:
    """Scores of each completion under base and candidate, each in a forward pass of its own, as an engine would.

    Raises TaskError where they are no numbers.
    """
    return [_score(model, passage_of(item)) for item in drafts]


def passage_of(draft: Draft) -> Passage:
    """The completion's tokens are scored."""
    return Passage(draft.ids, list(range(draft.prompt_tokens, len(draft.ids))))


def _score(model: PeftModel, passage: Passage) -> ProbeScores:
    [base], [adapter] = base_and_candidate(model, [passage])
    return ProbeScores(base=_rounded(base), adapter=_rounded(adapter))


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]
