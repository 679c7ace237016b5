"""What training labels as an answer's end and what the engine stops at, from one reading of the base's files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from wardrobe_models.chat import ChatTemplateError, load_chat
from wardrobe_models.errors import BadBaseError

END, ASSISTANT = 1, 5
QUESTION = {"role": "user", "content": "What is atrial fibrillation?"}


@pytest.fixture
def folder(base_folder: Path, tmp_path: Path) -> Path:
    """A copy of the base's descriptions, which a test may change."""
    return Path(shutil.copytree(base_folder, tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors")))


def edit(path: Path, **changes: Any) -> None:
    """Change top-level fields of a JSON file; None removes one."""
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


@pytest.mark.parametrize(
    ("tokenizer", "generation", "config", "expected"),
    [
        ("<|end|>", ASSISTANT, 3, {END, ASSISTANT}),
        ("<|end|>", [4, ASSISTANT], 3, {END, 4, ASSISTANT}),
        ("<|end|>", None, 3, {END}),  # the file is there and names none
        ("<|end|>", "no file", ASSISTANT, {END, ASSISTANT}),
        ("<|end|>", "no file", None, {END}),
        (None, "no file", [END], {END}),
        (None, None, None, set()),
    ],
)
def test_end_tokens(folder: Path, tokenizer: str | None, generation: Any, config: Any, expected: set[int]) -> None:
    edit(folder / "tokenizer_config.json", eos_token=tokenizer)
    edit(folder / "config.json", eos_token_id=config)
    edit(folder / "generation_config.json", eos_token_id=generation)
    if generation == "no file":
        (folder / "generation_config.json").unlink()
    assert load_chat(folder, "").end_tokens == expected


@pytest.mark.parametrize("wrong", ["<|end|>", [1, "2"], [{}], True, -1, 1.0])
def test_an_end_token_that_is_none(folder: Path, wrong: Any) -> None:
    edit(folder / "generation_config.json", eos_token_id=wrong)
    with pytest.raises(BadBaseError, match=r"generation_config\.json gives eos_token_id"):
        load_chat(folder, "")


def test_text_is_neither_cut_nor_filled_up(base_folder: Path, folder: Path) -> None:
    """A tokenizer.json may bring lengths from its making, which engines must not apply to prompts."""
    padding: dict[str, Any] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 2, "pad_type_id": 0, "pad_token": "<|pad|>"}
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    edit(folder / "tokenizer.json", truncation=truncation, padding=padding)
    text = load_chat(base_folder, "").render([QUESTION], prompt=True)
    changed = load_chat(folder, "")
    assert changed.ids(text) == load_chat(base_folder, "").ids(text)
    assert changed.backend.decode(changed.ids(text), skip_special_tokens=False) == text
    assert changed.placed([text])[0][1][-1][1] == len(text)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{{ 1 // 0 }}",
        "{{ messages[7].content.text }}",
        "{{ messages[0].content + 1 }}",
        "{{ '%d' % 'a' }}",
        "{{ messages[0].content.index('absent') }}",
        "{{ {}.pop('absent') }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_however_a_template_fails(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ChatTemplateError):
        load_chat(folder, "").render([QUESTION])


def test_control_tokens_are_those_that_are_marked_and_those_that_end_answers(folder: Path) -> None:
    value = json.loads((folder / "tokenizer.json").read_text())
    for token in value["added_tokens"]:
        token["special"] = token["content"] not in ("<|user|>", "<|assistant|>")
    (folder / "tokenizer.json").write_text(json.dumps(value))
    edit(folder / "generation_config.json", eos_token_id=[END, ASSISTANT])
    chat = load_chat(folder, "")
    assert chat.control_token_in("a<|assistant|>b") == "<|assistant|>"
    assert chat.control_token_in("a<|pad|>b") == "<|pad|>"
    assert chat.control_token_in("a<|user|>b < |end|> <|nobody|>") is None


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadBaseError, match=r"no tokenizer\.json"):
        load_chat(folder, "")


@pytest.mark.parametrize("text", ["", "[]", '{"version": "1.0"'])
def test_a_tokenizer_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(BadBaseError, match="tokenizer cannot be read"):
        load_chat(folder, "")
