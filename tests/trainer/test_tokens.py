"""Labels lie exactly on what the assistant says, its end token included, by a template that marks nothing."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES

from wardrobe_models.chat import Chat, Message
from wardrobe_trainer.dataset import read_rows
from wardrobe_trainer.tokens import IGNORED, Encoded, UnstableTokensError, encode

QUESTION = {"role": "user", "content": "Where is the ward?"}
ANSWER = {"role": "assistant", "content": "On the second floor."}


def labelled(chat: Chat, encoded: Encoded) -> list[str]:
    return [str(chat.tokenizer.decode(encoded.ids[start:end])) for start, end in encoded.answers]


def test_a_single_answer(chat: Chat) -> None:
    encoded = encode(chat, [QUESTION, ANSWER])
    assert labelled(chat, encoded) == ["On the second floor.<|end|>"]
    assert chat.tokenizer.decode(encoded.ids) == (
        "<|user|>\nWhere is the ward?<|end|>\n<|assistant|>\nOn the second floor.<|end|>\n"
    )


def test_every_answer_of_a_conversation(chat: Chat) -> None:
    system = {"role": "system", "content": "Be brief."}
    more = [{"role": "user", "content": "Thanks."}, {"role": "assistant", "content": "You are welcome."}]
    encoded = encode(chat, [system, QUESTION, ANSWER, *more])
    assert labelled(chat, encoded) == ["On the second floor.<|end|>", "You are welcome.<|end|>"]


def test_labels_are_the_tokens_themselves_inside_answers_only(chat: Chat) -> None:
    encoded = encode(chat, [QUESTION, ANSWER])
    (start, end) = encoded.answers[0]
    assert encoded.labels[start:end] == encoded.ids[start:end]
    assert set(encoded.labels[:start] + encoded.labels[end:]) == {IGNORED}
    assert encoded.ids[end - 1] == chat.tokenizer.eos_token_id
    assert encoded.label_tokens == sum(label != IGNORED for label in encoded.labels)


def test_every_real_row(chat: Chat, cardiology: Path) -> None:
    for row in read_rows(cardiology, "x"):
        assert labelled(chat, encode(chat, row.messages)) == [f"{row.answer}<|end|>"]


WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs", "S")), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and "<|" not in text
)


@settings(max_examples=60 * TIMES, deadline=None)
@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), length=st.integers(0, 80))
def test_any_conversation_at_any_length(chat: Chat, turns: list[tuple[str, str]], length: int) -> None:
    messages: list[Message] = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    encoded = encode(chat, messages)
    assert labelled(chat, encoded) == [f"{answer}<|end|>" for _, answer in turns]
    cut = encoded.truncated(length)
    assert cut.ids == encoded.ids[:length]
    assert cut.labels == encoded.labels[:length]


def with_template(chat: Chat, template: str) -> Chat:
    tokenizer = copy.deepcopy(chat.tokenizer)
    tokenizer.chat_template = template
    return replace(chat, tokenizer=tokenizer)


def test_a_template_that_writes_more_into_the_last_answer(chat: Chat) -> None:
    """As Qwen3's does: an empty thought before the last answer, none before earlier ones."""
    template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{% if loop.last and m.role == 'assistant' %}(no thought) {% endif %}"
        "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    encoded = encode(with_template(chat, template), [QUESTION, ANSWER, QUESTION, ANSWER])
    assert labelled(chat, encoded) == ["On the second floor.<|end|>", "(no thought) On the second floor.<|end|>"]


def test_a_template_with_a_prompt_that_the_conversation_does_not_have(chat: Chat) -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\nThinking: {% endif %}"
    )
    with pytest.raises(UnstableTokensError, match="change with what follows"):
        encode(with_template(chat, template), [QUESTION, ANSWER])
