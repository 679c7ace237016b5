"""Labels lie exactly on what the assistant says, its end token included, by a template that marks nothing."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES
from tokenizers.processors import TemplateProcessing

from wardrobe_models.chat import Chat, Message
from wardrobe_trainer.dataset import TEXT
from wardrobe_trainer.reading import read_rows
from wardrobe_trainer.tokens import IGNORED, Encoded, UnlabelledError, answer_offsets, encode, turns

QUESTION = {"role": "user", "content": "Where is the ward?"}
ANSWER = {"role": "assistant", "content": "On the second floor."}


def labelled(chat: Chat, encoded: Encoded) -> list[str]:
    return [str(chat.tokenizer.decode(encoded.ids[start:end])) for start, end in encoded.answers]


def test_a_single_answer(chat: Chat) -> None:
    [encoded] = encode(chat, [QUESTION, ANSWER])
    assert labelled(chat, encoded) == ["On the second floor.<|end|>"]
    assert chat.tokenizer.decode(encoded.ids) == (
        "<|user|>\nWhere is the ward?<|end|>\n<|assistant|>\nOn the second floor.<|end|>"
    )


def test_every_answer_of_a_conversation(chat: Chat) -> None:
    system = {"role": "system", "content": "Be brief."}
    more = [{"role": "user", "content": "Thanks."}, {"role": "assistant", "content": "You are welcome."}]
    [encoded] = encode(chat, [system, QUESTION, ANSWER, *more])
    assert labelled(chat, encoded) == ["On the second floor.<|end|>", "You are welcome.<|end|>"]


def test_labels_are_the_tokens_themselves_inside_answers_only(chat: Chat) -> None:
    [encoded] = encode(chat, [QUESTION, ANSWER])
    (start, end) = encoded.answers[0]
    assert encoded.labels[start:end] == encoded.ids[start:end]
    assert set(encoded.labels[:start] + encoded.labels[end:]) == {IGNORED}
    assert encoded.ids[end - 1] == chat.tokenizer.eos_token_id
    assert encoded.label_tokens == sum(label != IGNORED for label in encoded.labels)


def test_every_real_row(chat: Chat, cardiology: Path) -> None:
    for row in read_rows(cardiology, "x"):
        assert labelled(chat, *encode(chat, row.messages)) == [f"{row.answer}<|end|>"]


WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs", "S")), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and "<|" not in text
)


@settings(max_examples=60 * TIMES, deadline=None)
@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), length=st.integers(0, 80))
def test_any_conversation_at_any_length(chat: Chat, turns: list[tuple[str, str]], length: int) -> None:
    messages: list[Message] = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    [encoded] = encode(chat, messages)
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
    own = with_template(chat, template)
    first, second = encode(own, [QUESTION, ANSWER, QUESTION, ANSWER])
    assert labelled(own, first) == labelled(own, second) == ["(no thought) On the second floor.<|end|>"]
    assert "(no thought)" not in own.text(second.ids[: second.answers[0][0]])


def test_a_template_with_a_prompt_that_the_conversation_does_not_have(chat: Chat) -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\nThinking: {% endif %}"
    )
    own = with_template(chat, template)
    [encoded] = encode(own, [QUESTION, {"role": "assistant", "content": " On the second floor. "}])
    assert own.text(encoded.ids).endswith("<|assistant|>\nThinking: On the second floor.<|end|>")
    assert labelled(own, encoded) == ["On the second floor.<|end|>"]


def test_an_answer_whose_beginning_would_join_the_prompts_end(chat: Chat) -> None:
    """`\\n\\n` is one token of many tokenizers; an engine is sent the first, and the model answers with the second."""
    template = (
        "{% for m in messages %}<|{{ m.role }}|>wa{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>wa{% endif %}"
    )
    own = with_template(chat, template)
    messages = [QUESTION, {"role": "assistant", "content": "rd two."}]
    assert len(own.ids("ward")) < len(own.ids("wa")) + len(own.ids("rd"))
    prompt = own.ids(own.render(messages[:1], prompt=True))
    [encoded] = encode(own, messages)
    assert encoded.ids[: len(prompt)] == prompt
    assert labelled(own, encoded) == ["rd two.<|end|>"]
    [turn] = turns(own, messages)
    found = answer_offsets(own, turn)
    assert len(found) == encoded.label_tokens
    assert (found[0][0], found[-1][1]) == (0, len(turn.answer))


def slowly(chat: Chat, messages: list[Message]) -> list[Encoded]:
    """Each answer's prompt and text tokenised as an engine would, without a thought for what was done before."""
    single: list[Encoded] = []
    for turn in turns(chat, messages):
        before, whole = chat.ids(turn.prompt), chat.ids(turn.prompt + turn.answer)
        after = whole[len(before) :] if whole[: len(before)] == before else chat.ids(turn.answer)
        end = next(place for place, token in enumerate(after, 1) if token in chat.end_tokens)
        single.append(Encoded(before + after[:end], [(len(before), len(before) + end)]))
    whole = single[-1].ids
    if all(whole[: len(one.ids)] == one.ids for one in single):
        return [Encoded(whole, [answer for one in single for answer in one.answers])]
    return single


MERGING = "{% for m in messages %}<|{{ m.role }}|>wa{{ m.content }}<|end|>{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|>wa{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>\n{% if loop.last and m.role == 'assistant' %}(no thought) {% endif %}"
    "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TRIMMING = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
ENDLESS = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}" + (
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
PIECES = ["\n", " ", "rd", "wa", "ward", "<", "|", ">", "<|", "|>", "end", "Ü", "\u3000", "."]
LOOSE = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@settings(max_examples=80 * TIMES, deadline=None)
@given(
    template=st.sampled_from(["", MERGING, THINKING, TRIMMING, ENDLESS]),
    texts=st.lists(st.tuples(LOOSE, LOOSE), min_size=1, max_size=4),
)
def test_tokenising_a_conversation_once_comes_to_the_same(
    chat: Chat, template: str, texts: list[tuple[str, str]]
) -> None:
    own = with_template(chat, template) if template else chat
    messages: list[Message] = []
    for question, answer in texts:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if not any(own.control_token_in(message["content"]) for message in messages):
        assert encode(own, messages) == slowly(own, messages)


def test_a_long_conversation_is_tokenised_once(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took time by the square of its turns."""
    messages = [QUESTION, ANSWER] * 50
    seen: list[str] = []
    wanted, tokenise = slowly(chat, messages), Chat.all_ids

    def counted(self: Chat, texts: list[str]) -> list[list[int]]:
        seen.extend(texts)
        return tokenise(self, texts)

    monkeypatch.setattr(Chat, "all_ids", counted)
    assert encode(chat, messages) == wanted
    assert sum(map(len, seen)) < 1.1 * len(chat.render(messages))


def test_a_text_is_learnt_from_its_first_token_to_its_end(chat: Chat) -> None:
    [encoded] = encode(chat, [{"role": TEXT, "content": "The ward is on the second floor."}])
    assert chat.text(encoded.ids) == "The ward is on the second floor.<|end|>"
    assert encoded.answers == [(1, len(encoded.ids))], "nothing precedes the first"
    [turn] = turns(chat, [{"role": TEXT, "content": "The ward is on the second floor."}])
    assert len(answer_offsets(chat, turn)) == encoded.label_tokens


def test_a_text_begins_as_the_tokenizer_begins_one(chat: Chat) -> None:
    tokenizer = copy.deepcopy(chat.tokenizer)
    backend = tokenizer.backend_tokenizer
    opening = "<|user|>"
    backend.post_processor = TemplateProcessing(
        single=f"{opening} $A <|end|>",
        special_tokens=[(name, backend.token_to_id(name)) for name in (opening, "<|end|>")],
    )
    own = replace(chat, tokenizer=tokenizer)
    [encoded] = encode(own, [{"role": TEXT, "content": "The ward."}])
    assert own.text(encoded.ids) == "<|user|>The ward.<|end|>"
    assert encoded.answers == [(1, len(encoded.ids))]
    [turn] = turns(own, [{"role": TEXT, "content": "The ward."}])
    assert answer_offsets(own, turn)[0][0] == 0
    assert len(answer_offsets(own, turn)) == encoded.label_tokens


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "must end an answer with a token"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content | upper }}<|end|>{% endfor %}", "as it stands"),
    ],
)
def test_a_template_by_which_nothing_can_be_labelled(chat: Chat, template: str, rule: str) -> None:
    with pytest.raises(UnlabelledError, match=rule):
        encode(with_template(chat, template), [QUESTION, ANSWER])
