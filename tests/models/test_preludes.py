"""What is read in a template's source, and what stands before it."""

from datetime import date

import pytest

from wardrobe_contracts.inspection import Scalar
from wardrobe_models import templates
from wardrobe_models.templates import UnreadableTemplateError, VariableError

DAY = date(2024, 2, 3)
READS = (
    "{% set style = style | default('plain') %}"
    "{% if date_string is not defined %}{% set date_string = 'x' %}{% endif %}"
    "{% for m in messages %}{% set content = m.content %}{{ content }}{{ mood }}{% endfor %}{{ bos_token }}"
)


def test_nothing_stands_before_a_template_that_needs_nothing() -> None:
    assert templates.prelude(READS, {}, DAY) == ""


def test_variables_are_literals_on_one_line_each() -> None:
    variables: dict[str, Scalar] = {"style": 'a "b"\n{{ c }}', "mood": False, "date_string": 1.5}
    lines = templates.prelude(READS, variables, DAY).splitlines()
    assert lines == [
        "{% set date_string = 1.5 %}",
        "{% set mood = false %}",
        r'{% set style = "a \"b\"\n{{ c }}" %}',
    ]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("moood", "reads no such variable; it reads date_string, mood, style"),
        ("content", "reads no such variable"),
        ("m", "reads no such variable"),
        ("messages", "gives it this name"),
        ("add_generation_prompt", "gives it this name"),
        ("bos_token", "gives it this name"),
        ("strftime_now", "gives it this name"),
    ],
)
def test_a_variable_that_would_do_nothing_or_harm(name: str, rule: str) -> None:
    with pytest.raises(VariableError, match=rule) as caught:
        templates.prelude(READS, {name: True}, DAY)
    assert caught.value.name == name


def test_a_date_is_frozen_in_every_form_that_is_asked_for() -> None:
    template = (
        "{{ strftime_now('%d %b %Y') }}{% if x %}{{ strftime_now('%H:%M') }}{% endif %}{{ strftime_now is defined }}"
    )
    frozen = templates.prelude(template, {}, DAY)
    assert (
        frozen
        == '{% macro strftime_now(form) %}{{ {"%H:%M": "00:00", "%d %b %Y": "03 Feb 2024"}[form] }}{% endmacro %}\n'
    )


@pytest.mark.parametrize("call", ["strftime_now(form)", "strftime_now('%Y', 1)", "strftime_now(format='%Y')"])
def test_a_date_in_a_form_that_is_computed(call: str) -> None:
    with pytest.raises(UnreadableTemplateError, match="in a form that is computed"):
        templates.prelude(f"{{{{ {call} }}}}", {}, DAY)


def test_a_template_that_is_none() -> None:
    with pytest.raises(UnreadableTemplateError, match="line 2"):
        templates.prelude("\n{% if %}", {}, DAY)


def test_tags_of_transformers_are_read() -> None:
    template = (
        "{% for m in messages %}{% if m.x %}{% continue %}{% endif %}"
        "{% generation %}{{ y }}{% endgeneration %}{% endfor %}"
    )
    assert templates.prelude(template, {"y": 1}, DAY) == "{% set y = 1 %}\n"


@pytest.mark.parametrize(
    ("source", "message", "words"),
    [
        ("{{ raise_exception('No system.') }}", "No system.", "No system."),
        ("{{ raise_exception('A') }}{{ raise_exception('B') }}", "B", "B"),
        ("{{ raise_exception('Role ' + m.role + ' is none: ' ~ m.content) }}", "Role r is none: c", "Role … is none:"),
        ("{{ raise_exception(m.content) }}", "secret", ""),
        ("{{ raise_exception(m['content']) }}", "the content", ""),
        ("{{ 'secret' }}{{ raise_exception('other') }}", "secret", ""),
        ("{{ raise_exception() }}", "secret", ""),
    ],
)
def test_a_refusal_is_told_in_the_templates_own_words(source: str, message: str, words: str) -> None:
    """What it takes from the conversation is never told."""
    assert templates.own_words(source, message) == words
