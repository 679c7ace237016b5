"""The router's tokenizer and chat template."""

import json
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from .requests import TgiError

_GENERATION_MARKS = ("{% generation %}", "{% endgeneration %}")
"""Left out of a template (router/src/infer/chat_template.rs:49)."""


class Prompts:
    """Of one base's folder."""

    def __init__(self, model: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        config = json.loads((model / "tokenizer_config.json").read_text())
        self._bos, self._eos = (_text(config.get(name)) for name in ("bos_token", "eos_token"))
        self._template = _template(model, config)

    def ids(self, text: str, *, special: bool) -> list[int]:
        """Tokens, with those that the tokenizer adds where `special` says so."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def text(self, token: int) -> str:
        """Of one token."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))

    def chat(self, messages: list[dict[str, Any]]) -> str:
        """A conversation as the model reads it. Raises TgiError."""
        if self._template is None:
            raise TgiError(422, "template_error", "Template error: template not found")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        given = {"messages": messages, "bos_token": self._bos, "eos_token": self._eos, "add_generation_prompt": True}
        try:
            return environment.from_string(self._template).render(given)
        except TemplateError as error:
            raise TgiError(422, "template_error", f"Template error: {error}") from error


def _template(model: Path, config: dict[str, Any]) -> str | None:
    """chat_template.jinja is not read (seen)."""
    template = config.get("chat_template")
    if template is None and (model / "chat_template.json").is_file():
        template = json.loads((model / "chat_template.json").read_text())["chat_template"]
    if template is None:
        return None
    for mark in _GENERATION_MARKS:
        template = template.replace(mark, "")
    return str(template)


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _raise(message: str) -> None:
    raise TemplateError(message)
