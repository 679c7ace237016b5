"""Task `inspect`: is this folder a base model that can be adapted, and which one? Reads no weights but their bytes."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wardrobe_contracts.base import Digest
from wardrobe_contracts.digests import fingerprint, of_files, sha256, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import (
    MOST_SIZE,
    PRELUDE_LIMIT,
    TOKEN_LIMIT,
    ChatTemplate,
    InspectConfig,
    Inspection,
    Shape,
    TokenizerFacts,
)
from wardrobe_contracts.problem import Problem
from wardrobe_models import templates
from wardrobe_models.chat import Chat, ChatTemplateError

from .console import say
from .model_files import CONFIG_FILE, BaseFaultError, Tensor, model_files, read_json, tensors, weight_files
from .problems import TaskError, bad_base, listed
from .tokens import Encoded, UnlabelledError, encode, load_chat

QUOTE_LIMIT = 80
"""Characters of a stranger's file in a message."""
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_TOKENIZER_FILES = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
}
_CONVERSATION = [
    {"role": "user", "content": "When can I visit?"},
    {"role": "assistant", "content": "From two to six."},
    {"role": "user", "content": "And on Sunday?"},
    {"role": "assistant", "content": "The same."},
]
"""Any conversation with two answers: it shows whether the template's answers can be found and end."""


def inspect(config: InspectConfig) -> Inspection:
    """Describe the base model in `config.base_folder`. Raises TaskError where it cannot be used."""
    try:
        return _inspect(Path(config.base_folder), config.chat_template)
    except PermissionError as error:
        fault = BaseFaultError(
            Reason.BASE_NOT_FOUND,
            f"user {os.getuid()}, as which Wardrobe's pods run, may not read {error.filename}",
            "Make files and folders readable for that user, for example with chmod -R a+rX",
        )
    except BaseFaultError as error:
        fault = error
    raise bad_base(fault.reason, field="spec.source", value=config.source, rule=fault.rule, next_step=fault.next_step)


def _inspect(folder: Path, given: ChatTemplate) -> Inspection:
    _require_folder(folder)
    model_config = load_config(folder)
    names = model_files(folder)
    shape = shape_of(model_config, tensors(folder, weight_files(folder)))
    say(f"{shape.architecture}, {shape.parameters:,} parameters, {shape.layers} layers, {shape.dtype}")
    chat, written = _chat(folder, given)
    if len(chat.tokenizer) > shape.vocabulary_size:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"its tokenizer has {len(chat.tokenizer)} tokens and the model only {shape.vocabulary_size}",
            "Copy tokenizer and weights from the same revision of the model",
        )
    size = sum((folder / name).stat().st_size for name in names)
    say(f"hashing {len(names)} files, {size:,} bytes")
    digests = {name: sha256_file(folder / name) for name in names}
    return Inspection(
        digest=of_files(digests),
        fingerprint=fingerprint(folder, names),
        files=len(names),
        size_bytes=size,
        shape=shape,
        tokenizer=tokenizer_facts(chat, digests).model_copy(update=written),
    )


def _chat(folder: Path, given: ChatTemplate) -> tuple[Chat, dict[str, Any]]:
    """The base's chat, and what is recorded of how it is written: prelude and date. Raises TaskError or BaseFaultError.

    The day is this one, unless another is given: it stays, so that what is trained next year is what was trained today.
    """
    chat = load_chat(folder, "")
    _require_template(chat)
    day = given.date or datetime.now(UTC).date()
    try:
        prelude = templates.prelude(chat.template, given.variables, day)
        dated = bool(templates.date_formats(chat.template))
    except templates.VariableError as error:
        raise _bad_variable(error, given) from error
    except templates.UnreadableTemplateError as error:
        raise _untrainable(str(error)) from error
    _require_short(prelude, given)
    chat = load_chat(folder, prelude) if prelude else chat
    require_trainable_template(chat)
    return chat, {"chat_template_prelude": prelude, "chat_template_date": day if dated else None}


def _bad_variable(error: templates.VariableError, given: ChatTemplate) -> TaskError:
    problem = Problem(
        field=f"spec.chatTemplate.variables.{error.name}",
        value=_cut(given.variables[error.name]),
        rule=str(error),
        next_step=error.next_step,
    )
    return TaskError(ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID, problem)


def _require_short(prelude: str, given: ChatTemplate) -> None:
    if (size := len(prelude.encode())) > PRELUDE_LIMIT:
        problem = Problem(
            field="spec.chatTemplate.variables",
            value=f"{len(given.variables)} variables",
            rule=f"written before the chat template, with the date where it prints one, they take {size} bytes, and "
            f"{PRELUDE_LIMIT} are allowed",
            next_step="Leave some out, or shorten their values",
        )
        raise TaskError(ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID, problem)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        near = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise BaseFaultError(
            Reason.BASE_NOT_FOUND,
            f"there is no such folder; beside it are: {listed(near) or 'nothing'}",
            "Name a folder of the claim that holds config.json, or copy the model there",
        )
    if not (folder / CONFIG_FILE).is_file():
        inside = sorted(path.name for path in folder.iterdir())
        nested = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
        raise BaseFaultError(
            Reason.BASE_NOT_FOUND,
            f"the folder has no {CONFIG_FILE}; it holds: {listed(inside) or 'nothing'}",
            f"Name its folder {nested[0]} instead" if nested else "Copy the model's files directly into the folder",
        )


def load_config(folder: Path) -> PretrainedConfig:
    """Configuration of a causal language model that transformers itself can build. Raises BaseFaultError."""
    raw = read_json(folder / CONFIG_FILE)
    model_type, architectures = _cut(raw.get("model_type")), raw.get("architectures") or []
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    if known is None or not isinstance(architectures, list) or known not in architectures or "auto_map" in raw:
        raise BaseFaultError(Reason.ARCHITECTURE_UNKNOWN, _unknown(raw, model_type, known), _OTHER_ARCHITECTURE)
    if raw.get("quantization_config"):
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"its weights are already quantized: quantization_config is {_cut(json.dumps(raw['quantization_config']))}",
            "Use the unquantized model; the forms in spec.variants are made from it when it is loaded",
        )
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise BaseFaultError(
            Reason.BASE_MALFORMED, f"{CONFIG_FILE} is not accepted: {error}", f"Copy {CONFIG_FILE} again"
        ) from error
    return config


_OTHER_ARCHITECTURE = "Choose a causal language model that this release of transformers has built in"


def _unknown(raw: dict[str, Any], model_type: str, known: str | None) -> str:
    if "auto_map" in raw:
        return f"{CONFIG_FILE} asks for code of its own (auto_map), which is never run"
    if known is None:
        return f"transformers has no causal language model of type {model_type!r}"
    found = _cut(raw.get("architectures"))
    return f"architectures is {found}, a causal language model of type {model_type!r} is {known}"


def _cut(value: object) -> str:
    return str(value)[:QUOTE_LIMIT]


def shape_of(config: PretrainedConfig, found: dict[str, Tensor]) -> Shape:
    """Architecture facts; parameters and dtype are counted in the weights, not believed from the configuration.

    Raises BaseFaultError where the configuration lacks a size.
    """
    text = config.get_text_config()
    heads = _size(text, "num_attention_heads")
    by_dtype = Counter[str]()
    for tensor in found.values():
        by_dtype[tensor.dtype] += tensor.elements
    return Shape(
        architecture=MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type],
        model_type=config.model_type,
        parameters=by_dtype.total(),
        hidden_size=_size(text, "hidden_size"),
        intermediate_size=_size(text, "intermediate_size", 4 * _size(text, "hidden_size")),
        layers=_size(text, "num_hidden_layers"),
        attention_heads=heads,
        key_value_heads=_size(text, "num_key_value_heads", heads),
        head_dim=_size(text, "head_dim", _size(text, "hidden_size") // heads),
        vocabulary_size=_size(text, "vocab_size"),
        context_length=context_length(config),
        dtype=_float_name(by_dtype),
        tied_embeddings=bool(getattr(config, "tie_word_embeddings", False)),
    )


def context_length(config: PretrainedConfig) -> int:
    """Longest sequence in tokens that the model was made for. Raises BaseFaultError where config.json lacks it."""
    return _size(config.get_text_config(), "max_position_embeddings")


def _size(config: PretrainedConfig, name: str, default: int | None = None) -> int:
    value = getattr(config, name, None)
    value = default if value is None else value
    if not isinstance(value, int) or not 1 <= value <= MOST_SIZE:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"{CONFIG_FILE} gives {name} as {_cut(value)!r}",
            "Copy the model's own config.json",
        )
    return value


def _float_name(by_dtype: Counter[str]) -> str:
    most = by_dtype.most_common(1)
    if not most or most[0][0] not in _DTYPES:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"its weights are of types {sorted(by_dtype)}, not floating point of 16 bits or more",
            "Use the unquantized model in safetensors",
        )
    return _DTYPES[most[0][0]]


def _require_template(chat: Chat) -> None:
    if not chat.tokenizer.chat_template:
        raise BaseFaultError(
            Reason.CHAT_TEMPLATE_MISSING,
            "its tokenizer has no chat template, so it is not known how a conversation is written for it",
            "Use the model's chat or instruct edition, or add the chat_template.jinja it was trained with",
        )


def require_trainable_template(chat: Chat) -> None:
    """The template must render, write what was said, and let answers and their ends be found. Raises BaseFaultError."""
    if not chat.end_tokens:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            "neither its tokenizer nor generation_config.json names an end token, so it would never stop",
            "Set eos_token in tokenizer_config.json to the token that ends an answer",
        )
    if longest := max(
        (token for token in chat.control_tokens.values() if len(token) > TOKEN_LIMIT), key=len, default=""
    ):
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"its tokenizer has a control token of {len(longest)} characters, and {TOKEN_LIMIT} are allowed",
            "Copy the model's own tokenizer files",
        )
    try:
        encoded = encode(chat, _CONVERSATION)
    except (ChatTemplateError, UnlabelledError) as error:
        raise _untrainable(str(error)) from error
    _require_written(chat, encoded)


def _require_written(chat: Chat, encoded: list[Encoded]) -> None:
    """Templates of models that see take a message's content as a list, and of plain text they write nothing."""
    labels = [chat.text(one.ids[start:end]) for one in encoded for start, end in one.answers]
    answers = [message["content"] for message in _CONVERSATION if message["role"] == "assistant"]
    questions = [message["content"] for message in _CONVERSATION if message["role"] == "user"]
    prompt = chat.text(encoded[-1].ids)
    written = all(answer in label for answer, label in zip(answers, labels, strict=True))
    if not written or not all(question in prompt for question in questions):
        raise _untrainable("it does not write the text of every message, each answer before its end token")


def _untrainable(found: str) -> BaseFaultError:
    return BaseFaultError(
        Reason.BASE_MALFORMED,
        f"its chat template cannot be trained on: {found}",
        "Use a template that writes messages whose content is text, and ends each answer with a token listed as "
        "eos_token_id in generation_config.json",
    )


def tokenizer_facts(chat: Chat, digests: dict[str, Digest]) -> TokenizerFacts:
    """Facts that must agree wherever an adapter of this base works; `digests` are those of the model's files."""
    tokenizer = chat.tokenizer
    belonging = {name: digests[name] for name in digests if name in _TOKENIZER_FILES or name.endswith(".model")}
    return TokenizerFacts(
        digest=of_files(belonging),
        vocabulary_size=len(tokenizer),
        eos_token=str(tokenizer.eos_token or tokenizer.decode(min(chat.end_tokens)))[:TOKEN_LIMIT],
        pad_token=tokenizer.pad_token,
        chat_template_digest=sha256(chat.template.encode()),
        generation_marker="{% generation" in chat.template.replace("{%-", "{%"),
    )
