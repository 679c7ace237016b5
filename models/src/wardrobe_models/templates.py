"""What a chat template says and asks for, read in its source: its refusals, the names and the dates that it reads.

A base's *effective* template is its own with a prelude before it: `{% set … %}` for each variable of the BaseModel, and
a `strftime_now` that knows one day only. That is Jinja text, so every engine renders what was trained.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wardrobe_contracts.inspection import Scalar

_TODAY = "strftime_now"
_REFUSE = "raise_exception"
_GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt", _TODAY, _REFUSE})
_TOKEN = "_token"  # noqa: S105  how names of control tokens end
"""With those in _GIVEN, what transformers and the engines give a template."""
_ASKING = frozenset({"defined", "undefined", "default", "d"})
"""Tests and filters for names that may not be set."""


class VariableError(Exception):
    """A variable that the template cannot be given. The text is a rule that it breaks."""

    def __init__(self, name: str, rule: str, next_step: str) -> None:
        super().__init__(rule)
        self.name = name
        self.next_step = next_step


class UnreadableTemplateError(Exception):
    """The template cannot be read, or not be held to one day."""


class _Generation(Extension):
    """`{% generation %}` around what the assistant says, which transformers knows."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """What stands inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


_environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
)


@lru_cache(maxsize=8)
def _parsed(template: str) -> nodes.Template:
    try:
        return _environment.parse(template)
    except TemplateSyntaxError as error:
        raise UnreadableTemplateError(f"line {error.lineno}: {error.message}") from error


def prelude(template: str, variables: Mapping[str, Scalar], day: date) -> str:
    """What stands before a template so that it has these variables, and prints this day's date whenever it is rendered.

    Empty where there is nothing to say. Raises VariableError or UnreadableTemplateError.
    """
    free = _read_names(template)
    for name in variables:
        _require_free(name, free)
    lines = [f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(variables.items())]
    if formats := date_formats(template):
        lines.append(_frozen(formats, day))
    return "".join(f"{line}\n" for line in lines)  # a newline after a block is not written


def date_formats(template: str) -> list[str]:
    """The forms, as of strftime(3), in which a template prints today's date. Raises UnreadableTemplateError."""
    calls = [call for call in _parsed(template).find_all(nodes.Call) if _calls(call, _TODAY)]
    formats = {argument.value for call in calls for argument in call.args if isinstance(argument, nodes.Const)}
    if not all(len(call.args) == 1 and isinstance(call.args[0], nodes.Const) and not call.kwargs for call in calls):
        raise UnreadableTemplateError(
            f"it prints today's date with {_TODAY} in a form that is computed, so no day can be set"
        )
    return sorted(map(str, formats))


def _frozen(formats: list[str], day: date) -> str:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    texts = ", ".join(f"{_literal(form)}: {_literal(at.strftime(form))}" for form in formats)
    return f"{{% macro {_TODAY}(form) %}}{{{{ {{{texts}}}[form] }}}}{{% endmacro %}}"


def _literal(value: Scalar) -> str:
    """Of JSON as of Jinja, on one line."""
    return json.dumps(value, ensure_ascii=False)


def _read_names(template: str) -> frozenset[str]:
    """Names that are read before the template sets them, or where it asks whether they are set."""
    parsed = _parsed(template)
    questions = [one for one in parsed.find_all((nodes.Test, nodes.Filter)) if one.name in _ASKING]
    asked = {one.node.name for one in questions if isinstance(one.node, nodes.Name)}
    set_there = {name.name for name in parsed.find_all(nodes.Name) if name.ctx == "store"}
    return frozenset(meta.find_undeclared_variables(parsed)) - (set_there - asked)


def _require_free(name: str, free: frozenset[str]) -> None:
    if name in _GIVEN or name.endswith(_TOKEN):
        raise VariableError(name, "whoever renders the template gives it this name", "Leave it out")
    if name not in free:
        known = sorted(one for one in free - _GIVEN if not one.endswith(_TOKEN))
        told = f"it reads {', '.join(known)}" if known else "it reads none"
        raise VariableError(name, f"the base's chat template reads no such variable; {told}", "Correct the name")


def own_words(template: str, message: str) -> str:
    """A refusal in the template's own words: those parts of the message that stand in its source, and nothing else.

    Empty where no `raise_exception` of the template says this: what it puts into a message may be somebody's words.
    """
    for call in _parsed(template).find_all(nodes.Call):
        if _calls(call, _REFUSE) and call.args:
            parts = _constants(call.args[0])
            if parts and _in_order(parts, message):
                return " … ".join(part.strip() for part in parts)
    return ""


def _calls(call: nodes.Call, name: str) -> bool:
    return isinstance(call.node, nodes.Name) and call.node.name == name


def _constants(text: nodes.Expr) -> list[str]:
    """Of what is joined to a text."""
    if isinstance(text, nodes.Const):
        return [text.value] if isinstance(text.value, str) and text.value.strip() else []
    if isinstance(text, nodes.Concat):
        return [part for one in text.nodes for part in _constants(one)]
    if isinstance(text, nodes.Add):
        return [*_constants(text.left), *_constants(text.right)]
    return []


def _in_order(parts: list[str], message: str) -> bool:
    at = 0
    for part in parts:
        found = message.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True
