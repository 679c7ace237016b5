"""What inspect says of the real base, and of every way in which a base can be broken."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from wardrobe_contracts.base_files import JSON_LIMIT
from wardrobe_contracts.digests import HEADER_LIMIT, fingerprint, sha256
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import InspectConfig, Inspection
from wardrobe_models.chat import load_chat
from wardrobe_trainer.inspection import inspect
from wardrobe_trainer.model_files import DESCRIPTION_LIMIT, FILES_LIMIT, model_files, require_unchanged
from wardrobe_trainer.problems import TaskError

Edit = Callable[..., None]


def refusal(folder: Path) -> TaskError:
    with pytest.raises(TaskError) as caught:
        inspect(InspectConfig(base_folder=str(folder), source="pvc://models/base", output_folder="unused"))
    error = caught.value
    assert error.code is ExitCode.BAD_BASE
    assert (error.problem.field, error.problem.value) == ("spec.source", "pvc://models/base")
    return error


def test_the_real_base(inspection: Inspection, base_folder: Path) -> None:
    shape = inspection.shape
    assert (shape.architecture, shape.model_type, shape.dtype) == ("LlamaForCausalLM", "llama", "bfloat16")
    assert (shape.hidden_size, shape.intermediate_size, shape.layers) == (256, 768, 6)
    assert (shape.attention_heads, shape.key_value_heads, shape.head_dim) == (8, 4, 32)
    assert (shape.vocabulary_size, shape.context_length, shape.tied_embeddings) == (4096, 1024, True)
    # 11.5 MB of bfloat16, less the header
    weights = (base_folder / "model.safetensors").stat().st_size
    assert shape.parameters == 5_770_496
    assert 0 < weights - 2 * shape.parameters < 10_000
    facts = inspection.tokenizer
    assert (facts.eos_token, facts.pad_token, facts.vocabulary_size) == ("<|end|>", "<|pad|>", 4096)
    assert not facts.generation_marker


def test_the_digest_is_what_sha256sum_prints(inspection: Inspection, base_folder: Path) -> None:
    names = sorted(path.name for path in base_folder.iterdir() if path.name != "README.md")
    lines = [f"{hashlib.sha256((base_folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert inspection.digest == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
    assert inspection.files == len(names)


def test_pages_and_hidden_files_are_no_part_of_a_model(model_copy: Path, inspection: Inspection) -> None:
    for name in ("README.md", "LICENSE.txt", ".cache.json", "other.safetensors", "pytorch_model.bin"):
        (model_copy / name).write_text("{}")
    (model_copy / "onnx").mkdir()
    assert fingerprint(model_copy, model_files(model_copy)) == inspection.fingerprint


def test_a_missing_folder_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    error = refusal(tmp_path / "lama")
    assert error.reason is Reason.BASE_NOT_FOUND
    assert "llama" in error.problem.rule


def test_a_folder_above_the_model_names_the_model(model_copy: Path) -> None:
    error = refusal(model_copy.parent)
    assert error.reason is Reason.BASE_NOT_FOUND
    assert "config.json" in error.problem.rule
    assert "base" in error.problem.next_step


def test_only_pickles(model_copy: Path) -> None:
    (model_copy / "model.safetensors").rename(model_copy / "pytorch_model.bin")
    error = refusal(model_copy)
    assert error.reason is Reason.UNSAFE_WEIGHTS
    assert "pytorch_model.bin" in error.problem.rule
    assert "save_pretrained" in error.problem.next_step


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model_type", "perceptron", "'perceptron'"),
        ("model_type", "perceptron" * 10**5, "no causal language model"),
        ("architectures", ["LlamaForSequenceClassification"], "LlamaForSequenceClassification"),
        ("architectures", 7, "architectures is 7"),
        ("auto_map", {"AutoModelForCausalLM": "modeling.Custom"}, "never run"),
    ],
)
def test_an_unknown_architecture(model_copy: Path, edit_json: Edit, field: str, value: object, said: str) -> None:
    edit_json(model_copy / "config.json", **{field: value})
    error = refusal(model_copy)
    assert error.reason is Reason.ARCHITECTURE_UNKNOWN
    assert said in error.problem.rule
    assert len(error.problem.rule) < 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"vocab_size": 4000}, "4096 tokens and the model only 4000"),
        ({"num_hidden_layers": "six"}, "num_hidden_layers"),
        ({"max_position_embeddings": 0}, "max_position_embeddings as '0'"),
        ({"intermediate_size": 10**20}, "intermediate_size as '100000000000000000000'"),
    ],
)
def test_a_configuration_that_does_not_fit(
    model_copy: Path, edit_json: Edit, changes: dict[str, object], said: str
) -> None:
    edit_json(model_copy / "config.json", **changes)
    error = refusal(model_copy)
    assert error.reason is Reason.BASE_MALFORMED
    assert said in error.problem.rule


@pytest.mark.parametrize("text", ["", "{", "[]", "\ufeff\x00", "[" * 100_000, " " * (JSON_LIMIT + 1)])
def test_a_configuration_that_is_no_json_object(model_copy: Path, text: str) -> None:
    (model_copy / "config.json").write_text(text)
    error = refusal(model_copy)
    assert error.reason is Reason.BASE_MALFORMED
    assert "config.json is not a JSON object" in error.problem.rule


@pytest.mark.parametrize("size", [0, 5, 100, 4000, 11_000_000, 11_547_039])
def test_truncated_weights(model_copy: Path, size: int) -> None:
    weights = model_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    error = refusal(model_copy)
    assert error.reason is Reason.BASE_MALFORMED
    assert "model.safetensors is truncated or damaged" in error.problem.rule


def weights(**changes: object) -> bytes:
    """A safetensors file of one tensor, changed."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        b"\x02\0\0\0\0\0\0\0[]",
        b'\x08\0\0\0\0\0\0\0{"a": 1}',
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        weights(shape=[-1]),
        weights(shape=["1"]),
        weights(shape=[True]),
        weights(shape=7),
        weights(data_offsets=[0, float("inf")]),
        weights(data_offsets=[0, "4"]),
        weights(shape=[10**30]),
    ],
)
def test_weights_that_are_no_safetensors(model_copy: Path, content: bytes) -> None:
    (model_copy / "model.safetensors").write_bytes(content)
    assert "truncated or damaged" in refusal(model_copy).problem.rule


def test_a_header_beyond_the_formats_limit_is_not_read(model_copy: Path) -> None:
    with (model_copy / "model.safetensors").open("wb") as file:
        file.write((HEADER_LIMIT + 1).to_bytes(8, "little"))
        file.truncate(10 * HEADER_LIMIT)
    assert "no room for its header" in refusal(model_copy).problem.rule


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "merges.txt", "tokenizer.model"])
def test_a_description_that_is_too_large_is_not_read(model_copy: Path, name: str) -> None:
    with (model_copy / name).open("wb") as file:
        file.truncate(DESCRIPTION_LIMIT + 1)
    error = refusal(model_copy)
    assert error.reason is Reason.BASE_MALFORMED
    assert f"{name} has {DESCRIPTION_LIMIT + 1} bytes" in error.problem.rule


def test_more_files_than_a_model_has(model_copy: Path) -> None:
    for number in range(FILES_LIMIT):
        (model_copy / f"{number}.json").touch()
    assert f"at most {FILES_LIMIT}" in refusal(model_copy).problem.rule


def test_no_weights_at_all(model_copy: Path) -> None:
    (model_copy / "model.safetensors").unlink()
    assert "neither model.safetensors nor" in refusal(model_copy).problem.rule


def test_an_index_with_missing_shards(model_copy: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors"}}
    (model_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (model_copy / "model.safetensors").rename(model_copy / "model-00001-of-00003.safetensors")
    error = refusal(model_copy)
    assert "model-00002-of-00003.safetensors" in error.problem.rule
    assert "1 of 2 shards" in error.problem.rule


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": {"a": "../../etc/passwd"}}])
def test_an_index_that_names_no_files_beside_it(model_copy: Path, index: dict[str, object]) -> None:
    (model_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "weight_map" in refusal(model_copy).problem.rule


def test_shards_are_counted_once(model_copy: Path, inspection: Inspection) -> None:
    """A consolidated copy of the weights beside the shards does not double the parameters."""
    shard = "model-00001-of-00001.safetensors"
    (model_copy / "consolidated.safetensors").write_bytes((model_copy / "model.safetensors").read_bytes())
    (model_copy / "model.safetensors").rename(model_copy / shard)
    (model_copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    config = InspectConfig(base_folder=str(model_copy), source="x", output_folder="x")
    assert inspect(config).shape.parameters == inspection.shape.parameters


def test_no_tokenizer(model_copy: Path) -> None:
    (model_copy / "tokenizer.json").unlink()
    assert "tokenizer.json" in refusal(model_copy).problem.rule


def test_a_damaged_tokenizer(model_copy: Path) -> None:
    (model_copy / "tokenizer.json").write_text('{"version": "1.0"')
    assert "tokenizer cannot be read" in refusal(model_copy).problem.rule


def test_a_control_token_that_is_no_token(model_copy: Path, edit_json: Edit) -> None:
    edit_json(model_copy / "tokenizer_config.json", eos_token="x" * 5000)
    assert "a control token of 5000 characters" in refusal(model_copy).problem.rule


def test_no_chat_template(model_copy: Path) -> None:
    (model_copy / "chat_template.jinja").unlink()
    error = refusal(model_copy)
    assert error.reason is Reason.CHAT_TEMPLATE_MISSING
    assert "chat_template.jinja" in error.problem.next_step


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content }}", "line 1: Unexpected end of template"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "a token at which generation stops"),
        (
            "{% for m in messages %}{{ m.content | upper }}<|end|>{% endfor %}",
            "does not write the text of every message",
        ),
        ("{% for m in messages %}<|end|>{{ m.content }}{% endfor %}", "does not write the text of every message"),
        ("{{ messages[-1].content }}<|end|>", "does not write the text of every message"),
        ("{% for m in messages %}{{ strftime_now(m.role) }}{% endfor %}", "in a form that is computed"),
    ],
)
def test_a_template_that_cannot_be_trained_on(model_copy: Path, template: str, said: str) -> None:
    (model_copy / "chat_template.jinja").write_text(template)
    error = refusal(model_copy)
    assert error.reason is Reason.BASE_MALFORMED
    assert said in error.problem.rule


def inspected(folder: Path, **chat_template: object) -> Inspection:
    order = {"base_folder": str(folder), "source": "pvc://models/base", "output_folder": "unused"}
    return inspect(InspectConfig.model_validate(order | {"chat_template": chat_template}))


READS = "{% if mood is defined %}{{ mood }}{% endif %}{{ strftime_now('%d %b %Y') }}{% for m in messages %}"
DATED = READS + "{{ m.content }}<|end|>{% endfor %}"


def test_variables_and_date_are_recorded_as_what_stands_before_the_template(model_copy: Path) -> None:
    (model_copy / "chat_template.jinja").write_text(DATED)
    facts = inspected(model_copy, variables={"mood": "kind"}, date="2026-02-03").tokenizer
    assert facts.chat_template_date == date(2026, 2, 3)
    chat = load_chat(model_copy, facts.chat_template_prelude)
    assert chat.render([{"role": "user", "content": "Hi."}]) == "kind03 Feb 2026Hi.<|end|>"
    assert facts.chat_template_digest == sha256((facts.chat_template_prelude + DATED).encode())


def test_without_another_day_the_date_is_that_of_the_inspection(model_copy: Path) -> None:
    (model_copy / "chat_template.jinja").write_text(DATED)
    before = datetime.now(UTC).date()
    found = inspected(model_copy).tokenizer.chat_template_date
    assert found is not None
    assert before <= found <= datetime.now(UTC).date()


def test_a_template_without_a_date_has_nothing_before_it(inspection: Inspection) -> None:
    facts = inspection.tokenizer
    assert (facts.chat_template_prelude, facts.chat_template_date) == ("", None)


@pytest.mark.parametrize(
    ("variables", "field", "said"),
    [
        ({"moood": False}, "spec.chatTemplate.variables.moood", "reads no such variable; it reads mood"),
        ({"messages": "x"}, "spec.chatTemplate.variables.messages", "gives it this name"),
        ({"mood": "x" * 600}, "spec.chatTemplate.variables", "take 704 bytes, and 512 are allowed"),
    ],
)
def test_a_variable_that_cannot_be_set(model_copy: Path, variables: dict[str, object], field: str, said: str) -> None:
    (model_copy / "chat_template.jinja").write_text(DATED)
    with pytest.raises(TaskError, match=said) as caught:
        inspected(model_copy, variables=variables)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID)
    assert caught.value.problem.field == field


def test_files_that_may_not_be_read(base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    error = refusal(base_folder)
    assert error.reason is Reason.BASE_NOT_FOUND
    assert "may not read" in error.problem.rule
    assert "config.json" in error.problem.rule


def test_no_end_token(model_copy: Path, edit_json: Edit) -> None:
    edit_json(model_copy / "tokenizer_config.json", eos_token=None)
    edit_json(model_copy / "generation_config.json", eos_token_id=None)
    assert "never stop" in refusal(model_copy).problem.rule


def test_the_unchanged_base_passes(model_copy: Path, inspection: Inspection) -> None:
    require_unchanged(model_copy, inspection.fingerprint)


@pytest.mark.parametrize("change", ["truncated", "other weights", "other template", "new file", "gone"])
def test_a_changed_base_is_noticed_at_the_start_of_the_next_task(
    model_copy: Path, inspection: Inspection, change: str
) -> None:
    weights = model_copy / "model.safetensors"
    if change == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif change == "other weights":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif change == "other template":
        (model_copy / "chat_template.jinja").write_text("x")
    elif change == "new file":
        (model_copy / "adapter_config.json").write_text("{}")
    else:
        weights.unlink()
    with pytest.raises(TaskError) as caught:
        require_unchanged(model_copy, inspection.fingerprint)
    assert caught.value.reason is Reason.BASE_CHANGED
    assert caught.value.problem.field == "spec.baseModel.name"
