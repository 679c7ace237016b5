"""Every original template that TRL knows: an answer is trained as it is served, whatever the template does."""

import copy
import re
from datetime import date, datetime
from pathlib import Path

import pytest
import transformers.utils.chat_template_utils as rendering
import trl
from transformers import PreTrainedTokenizerBase

from wardrobe_models import templates
from wardrobe_models.chat import Chat, ChatTemplateError, Message
from wardrobe_trainer.inspection import require_trainable_template
from wardrobe_trainer.model_files import BaseFaultError
from wardrobe_trainer.tokens import encode

FOLDER = Path(trl.__file__).parent / "chat_templates"
TEMPLATES = {
    path.stem: path.read_text() for path in sorted(FOLDER.glob("*.jinja")) if not path.stem.endswith("_training")
}
# The system text goes before the last message where that is the user's, as Mistral v0.3's template has it.
TEMPLATES["system_moves"] = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% endif %}"
    "{% for message in messages %}{% if message.role == 'user' %}"
    "[INST] {% if loop.last and system is defined %}{{ system }}\n\n{% endif %}{{ message.content }}[/INST]"
    "{% elif message.role == 'assistant' %} {{ message.content | trim }}</s>{% endif %}{% endfor %}"
)
MARKS = re.compile(r"<[|\uff5c][^<>\s'\"{}]+[|\uff5c]>|<\|?[a-z_]+\|?>|</[a-z_]+>|\[/?[A-Z_]+\]")
"""What looks like a control token in a template."""
ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "diffusion_gemma": "<turn|>",
    "gemma": "<end_of_turn>",
    "gemma4": "<turn|>",
    "glm4moe": "<|user|>",
    "gptoss": "<|return|>",
    "idefics3": "<end_of_utterance>",
    "lfm2": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "llava_next": "</s>",
    "muse_glimmer": "<|eot|>",
    "nemotron_3": "<|im_end|>",
    "phi3": "<|end|>",
    "qwen": "<|im_end|>",
    "smolvlm": "<end_of_utterance>",
    "system_moves": "</s>",
}
"""By how a template's name begins; the longest counts."""
LAST = {
    "cohere2": "{}<|END_RESPONSE|>",
    "glm4moe": "\n<think></think>\n{}",
    "gptoss": "<|channel|>final<|message|>{}",
    "muse_glimmer": " to=user<|message|>{}",
    "qwen3": "<think>\n\n</think>\n\n{}",
    "qwen3_5_think": "\n</think>\n\n{}",
    "qwen3_6": "\n</think>\n\n{}",
    "qwen3_8": "\n</think>\n\n{}",
    "system_moves": " {}",
}
"""How an answer is written as last message, after the prompt that an engine is sent, where that is more than itself."""
APART = {
    *("deepseek_r1_distill", "deepseekv3", "gptoss", "qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"),
    *("nemotron_3_5_lightning", "nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra"),
}
"""Those that write an earlier answer otherwise than it is served."""
SEEING = {"idefics3", "llava_next", "smolvlm"}
"""Of models that see: a message's content must be a list."""

SYSTEM = {"role": "system", "content": "Be brief."}
ONE = [{"role": "user", "content": "Where is the ward?"}, {"role": "assistant", "content": "On the second floor."}]
TWO = [*ONE, {"role": "user", "content": "Thanks?"}, {"role": "assistant", "content": "You are welcome."}]
CONVERSATIONS = {"one turn": ONE, "system": [SYSTEM, *ONE], "several turns": TWO, "both": [SYSTEM, *TWO]}
TEXTUAL = sorted(TEMPLATES.keys() - SEEING)
DAY = date(2024, 2, 3)


def chat_of(base: Chat, name: str, prelude: str = "") -> Chat:
    """The base's tokenizer with the control tokens of another template, which it is given."""
    template, end = TEMPLATES[name], ENDS[max((one for one in ENDS if name.startswith(one)), key=len)]
    tokenizer = copy.deepcopy(base.tokenizer)
    marks = {end, "<bos>", *MARKS.findall(template)}
    tokenizer.add_tokens(sorted(marks), special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template = "<bos>", end, prelude + template
    ids = frozenset({_id(tokenizer, end)})
    return Chat(tokenizer, ids, {_id(tokenizer, mark): mark for mark in marks})


def _id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary[token]


def served(chat: Chat, messages: list[Message]) -> list[tuple[list[int], str]]:
    """What an engine is sent for each answer, and the answer."""
    return [
        (chat.ids(chat.render(messages[:place], prompt=True)), message["content"])
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("name", TEXTUAL)
def test_an_answer_is_trained_as_it_is_served(chat: Chat, name: str, kind: str) -> None:
    own, messages = chat_of(chat, name), CONVERSATIONS[kind]
    if name == "gemma" and SYSTEM in messages:
        with pytest.raises(ChatTemplateError) as caught:
            encode(own, messages)
        assert caught.value.own_words == "System role not supported"
        return
    written = LAST.get(name, "{}")
    if name == "system_moves" and SYSTEM in messages:
        written = "{}"  # the prompt is another one as soon as an answer follows: only the text is left
    encoded = encode(own, messages)
    labelled = [(one, start, stop) for one in encoded for start, stop in one.answers]
    for (one, start, stop), (prompt, answer) in zip(labelled, served(own, messages), strict=True):
        assert own.text(one.ids[start:stop]) == written.format(answer) + own.tokenizer.eos_token
        assert start == len(prompt)
        assert one.ids[:start] == prompt


@pytest.mark.parametrize("name", TEXTUAL)
def test_each_answer_is_an_example_where_earlier_ones_are_written_otherwise(chat: Chat, name: str) -> None:
    assert len(encode(chat_of(chat, name), TWO)) == (2 if name in APART else 1)


@pytest.mark.parametrize("name", TEXTUAL)
def test_a_base_with_such_a_template_can_be_trained_on(chat: Chat, name: str) -> None:
    require_trainable_template(chat_of(chat, name))


@pytest.mark.parametrize("name", sorted(SEEING))
def test_a_template_that_writes_no_plain_text(chat: Chat, name: str) -> None:
    with pytest.raises(BaseFaultError, match="cannot be trained on"):
        require_trainable_template(chat_of(chat, name))


def test_each_answer_is_an_example_where_the_system_text_moves(chat: Chat) -> None:
    own = chat_of(chat, "system_moves")
    assert ["Be brief." in own.text(one.ids) for one in encode(own, [SYSTEM, *TWO])] == [True, True]


@pytest.mark.parametrize("name", sorted(name for name in TEMPLATES if "strftime_now" in TEMPLATES[name]))
def test_two_days_give_one_text(chat: Chat, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = chat_of(chat, name, templates.prelude(TEMPLATES[name], {}, DAY))
    today = own.render(ONE)
    monkeypatch.setattr(rendering, "datetime", Tomorrow)
    assert own.render(ONE) == today
    assert any(DAY.strftime(form) in today for form in templates.date_formats(TEMPLATES[name]))
    assert "2031" in chat_of(chat, name).render(ONE)


class Tomorrow(datetime):
    """A later day."""

    @classmethod
    def now(cls, tz: object = None) -> "Tomorrow":
        del tz
        return cls(2031, 5, 6)


@pytest.mark.parametrize("name", TEXTUAL)
def test_a_prelude_changes_nothing_but_what_it_says(chat: Chat, name: str) -> None:
    """Here a template of one line before which nothing is read: white space at its beginning counts."""
    spaced = "\n  {% if true %}a{% endif %}\n" + TEMPLATES[name] + "{{ unread }}"
    plain, own = chat_of(chat, name), chat_of(chat, name)
    plain.tokenizer.chat_template = spaced
    own.tokenizer.chat_template = templates.prelude(spaced, {"unread": ""}, DAY) + spaced
    if templates.date_formats(TEMPLATES[name]):
        plain.tokenizer.chat_template = templates.prelude(spaced, {}, DAY) + spaced
    assert own.render(ONE) == plain.render(ONE)


THINKING = sorted(name for name in TEXTUAL if "enable_thinking" in TEMPLATES[name])


@pytest.mark.parametrize("name", THINKING)
def test_a_variable_is_what_an_engine_would_be_told(chat: Chat, name: str) -> None:
    """As `enable_thinking=False` of transformers' own rendering, in every prompt and answer."""
    own = chat_of(chat, name, templates.prelude(TEMPLATES[name], {"enable_thinking": False}, DAY))
    given = chat_of(chat, name).tokenizer.apply_chat_template(
        ONE[:1], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert own.render(ONE[:1], prompt=True) == given


@pytest.mark.parametrize("name", sorted({"qwen3", "qwen3_5_think", "qwen3_6", "nemotron_3_nano"} & set(THINKING)))
def test_without_thinking_nothing_but_the_answer_is_learnt(chat: Chat, name: str) -> None:
    own = chat_of(chat, name, templates.prelude(TEMPLATES[name], {"enable_thinking": False}, DAY))
    labels = [own.text(one.ids[start:stop]) for one in encode(own, TWO) for start, stop in one.answers]
    assert labels == ["On the second floor.<|im_end|>", "You are welcome.<|im_end|>"]
