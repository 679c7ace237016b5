"""Command lines. Every option is an environment variable as well; the command line wins."""

import sys
from collections.abc import Sequence
from typing import Any, Self, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

_POSITIONAL = get_args(CliPositionalArg)[1]
"""What marks a field that has no option's name."""


class _Environment(EnvSettingsSource):
    """All but ports: a Service named `wardrobe` gives the pods beside it a WARDROBE_PORT that is a URL."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if not name.endswith("port")}


class CommandLine(BaseSettings):
    """What a program is started with. A subclass has a field for each option and, with its name, `cli_prog_name`."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="WARDROBE_",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_parse_none_str="unset",
    )

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        """From a command line. Ends the process with code 2 where it is wrong, and says what is wrong with what."""
        try:
            return CliApp.run(cls, cli_args=list(arguments))
        except ValidationError as error:
            problems = [_problem(cls, found) for found in error.errors()]
        except SettingsError as error:  # a map that is none; which option it was stands in the message
            problems = [f"{error}; --help says how it is written"]
        sys.stderr.writelines(f"{cls.model_config.get('cli_prog_name')}: {problem}\n" for problem in problems)
        sys.exit(2)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Neither .env files nor folders of secrets."""
        return init_settings, _Environment(settings_cls)


def _problem(options: type[CommandLine], found: ErrorDetails) -> str:
    field = str(found["loc"][0])
    positional = _POSITIONAL in options.model_fields[field].metadata
    option = field.upper() if positional else "--" + field.replace("_", "-")
    match found["type"]:
        case "missing":
            return f"{option} is missing: give it a value"
        case "literal_error":  # pydantic would show the members of an enumeration as Python writes them
            rule = f"it must be one of {', '.join(_words(options.model_fields[field].annotation))}"
        case _:
            rule = found["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    return f"{option} {found['input']} is not allowed: {rule}"


def _words(annotation: Any) -> list[str]:
    """Of a literal, or of one that may be left out."""
    return [word for part in (annotation, *get_args(annotation)) for word in get_args(part) if isinstance(word, str)]
