"""What programs are started with: what helps, what is refused, and what pods of before go on being started with."""

from pathlib import Path

import pytest

from wardrobe.__main__ import Options as OperatorOptions
from wardrobe_contracts.base import Variant
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.engines import Precision
from wardrobe_engine.options import Options as EngineOptions
from wardrobe_gateway.agent.__main__ import Options as AgentOptions
from wardrobe_gateway.agent.__main__ import settings_of
from wardrobe_gateway.router.__main__ import Options as RouterOptions

IDENTITY = ["--deployment", "tantanila", "--namespace", "ward", "--routes", "tantanila-routes"]
WORKING: dict[type[CommandLine], list[str]] = {
    OperatorOptions: [
        *("--trainer-image=r/wardrobe-trainer:1", "--gateway-image=r/wardrobe-gateway:1"),
        *(
            "--engine-image=Transformers=r/wardrobe-engine:1",
            "--engine-image=TGI=r/wardrobe-tgi:1",
            "--engine-image=VLLM=vllm/vllm-openai:v1",
            "--user-id=10001",
            "--log-level=info",
            "--namespaces=ward,theatre",
        ),
    ],
    EngineOptions: [
        *("--model", "/models/base", "--fingerprint", f"sampled:sha256:{'0' * 64}", "--quantization", "None"),
        *("--served-name", "tantanila-base", "--host", "127.0.0.1", "--port", "8000", "--drain-seconds", "65.0"),
    ],
    AgentOptions: [
        *(*IDENTITY, "--store", "/wardrobe/store", "--cache", "/wardrobe/cache", "--engine", "Transformers"),
        *("--quantization", "None", "--control", "/wardrobe/control", "--shards", "1"),
    ],
    RouterOptions: [*IDENTITY, "--service", "tantanila-engine", "--keys", "/keys", "--memory", "/memory"],
}
"""As the chart and the operator write them. Pods of before an upgrade are started with these, too."""

every_program = pytest.mark.parametrize("options", WORKING, ids=lambda options: options.model_config["cli_prog_name"])


@every_program
def test_what_manifests_say_is_understood(options: type[CommandLine]) -> None:
    found = options.parse(WORKING[options])
    assert getattr(found, "quantization", Variant.NONE) is Variant.NONE
    assert getattr(found, "namespaces", "ward,theatre") == "ward,theatre"


def test_what_an_agent_is_told_of_its_pod_reaches_it() -> None:
    told = ["--shards=2", "--max-concurrent-requests=9", "--reprove-seconds=7", "--precision=bfloat16"]
    found = settings_of(AgentOptions.parse([*IDENTITY, "--engine=TGI", "--quantization=None", *told]))
    assert (found.shards, found.max_concurrent_requests, found.patience.reprove) == (2, 9, 7.0)
    assert found.precision is Precision.BFLOAT16


@every_program
def test_help_lists_every_option_with_its_default(
    options: type[CommandLine], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        options.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, field in options.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description
        default = (
            "(required)" if field.is_required() else f"(default: {'unset' if field.default is None else field.default})"
        )
        assert f"{field.description} {default}" in text
        assert not name.endswith("_seconds") or "second" in field.description, "a time says its unit"


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        (EngineOptions, [], "wardrobe-engine: --model is missing: give it a value"),
        (
            EngineOptions,
            ["--quantization", "nf4"],
            "--quantization nf4 is not allowed: it must be one of None, INT8, NF4",
        ),
        (EngineOptions, ["--max-batch", "0"], "--max-batch 0 is not allowed: it must be greater than 0"),
        (EngineOptions, ["--max-batch", "many"], "--max-batch many is not allowed: it must be a valid integer"),
        (AgentOptions, ["--engine", "TIG"], "--engine TIG is not allowed: it must be one of T"),
        (
            AgentOptions,
            ["--precision", "float16"],
            "--precision float16 is not allowed: it must be one of float32, bfloat16",
        ),
        (
            RouterOptions,
            ["--ops-port", "65536"],
            "--ops-port 65536 is not allowed: it must be less than or equal to 65535",
        ),
        (RouterOptions, ["--key", "/keys"], "unrecognized arguments: --key /keys"),
        (
            OperatorOptions,
            ["--engine-image", "TIG=x"],
            "--engine-image TIG is not allowed: it must be 'Transformers', 'TGI'",
        ),
        (
            OperatorOptions,
            ["--engine-image", "TGI=r/t:1"],
            "it must have an image for Transformers: give Transformers=<image>",
        ),
        (OperatorOptions, ["--engine-image", "r/e:1"], "for engine_image: not enough values to unpack"),
        (OperatorOptions, ["--log-level", "loud"], "--log-level loud is not allowed: it must be one of debug, info"),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_the_rule(
    options: type[CommandLine], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(arguments)
    assert said in capsys.readouterr().err


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_ENGINE_MODEL", "/models/a")
    monkeypatch.setenv("WARDROBE_ENGINE_MAX_BATCH", "7")
    monkeypatch.setenv("WARDROBE_ENGINE_MAX_WAITING", "5")
    found = EngineOptions.parse(["--max-batch", "9"])
    assert (found.model, found.max_batch, found.max_waiting) == (Path("/models/a"), 9, 5)


def test_a_wrong_variable_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_ENGINE_MAX_BATCH", "none")
    with pytest.raises(SystemExit, match="2"):
        EngineOptions.parse(["--model", "m"])


def test_a_port_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service `wardrobe` or `wardrobe-engine` gives pods beside it variables of these names."""
    monkeypatch.setenv("WARDROBE_PORT", "tcp://10.96.0.17:80")
    monkeypatch.setenv("WARDROBE_ENGINE_PORT", "tcp://10.96.0.17:80")
    for options, arguments in WORKING.items():
        assert isinstance(options.parse(arguments).model_dump()["port"], int)
