"""`wardrobe-agent`: the only listener of an engine pod."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Precision
from wardrobe_contracts.routes import AGENT_PORT, ENGINE_PORT

from ..engines.dialects import DIALECTS
from ..engines.http import EngineHttp
from ..forwarding import session
from ..process.command import ServerOptions, start
from ..process.drain import Drain
from ..process.program import serve
from ..process.source import Source
from .patience import Patience
from .probing import AT_ONCE
from .reconciler import Reconciler
from .server import Agent
from .settings import Settings


class Options(ServerOptions):
    """The only listener of an engine pod. --engine-url is also WARDROBE_ENGINE_URL, and so on, but ports."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-agent")

    store: Path = Field(Path(paths.STORE), description="the store, read-only")
    cache: Path = Field(Path(paths.CACHE), description="own folder, where the engine reads too")
    engine: str = Field(
        EngineType.TRANSFORMERS.value, description=f"the engine's dialect: {', '.join(sorted(DIALECTS))}"
    )
    quantization: Literal[Variant.NONE, Variant.INT8, Variant.NF4, Variant.FP4] = Field(
        description="variant of the base that the engine serves"
    )
    precision: Literal[Precision.FLOAT32, Precision.BFLOAT16] | None = Field(
        None, validate_default=True, description="in what the engine computes; by default what it computes in on a CPU"
    )
    engine_url: str = Field(f"http://127.0.0.1:{ENGINE_PORT}", description="where the engine listens")
    control: Path = Field(Path(paths.CONTROL), description="where the engine's wrapper is ordered about")
    shards: PositiveInt = Field(1, description="GPUs that the engine splits its weights over")
    reprove_seconds: PositiveFloat = Field(Patience.reprove, description="seconds until what is served is proved again")
    max_concurrent_requests: int | None = Field(
        None, gt=AT_ONCE, description="requests that the engine works on together; unset: as its facts say"
    )
    port: int = Field(AGENT_PORT, ge=0, le=65535, description="port of requests")

    @field_validator("engine")
    @classmethod
    def _has_a_dialect(cls, engine: str) -> str:
        if engine not in DIALECTS:
            raise ValueError(f"it must be one of {', '.join(sorted(DIALECTS))}")
        return engine

    @field_validator("precision")
    @classmethod
    def _is_served(cls, precision: Precision | None, info: ValidationInfo) -> Precision | None:
        engine, variant = info.data.get("engine"), info.data.get("quantization")
        if engine is not None and variant is not None:  # else they are what is wrong
            facts = ENGINES[EngineType(engine)]
            facts.tolerance(variant, precision or facts.precision)
        return precision


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    start(Options, run)


def settings_of(options: Options) -> Settings:
    """What the agent is told of its pod."""
    return Settings(
        deployment=options.deployment,
        store=options.store,
        cache=options.cache,
        variant=options.quantization,
        precision=options.precision or ENGINES[EngineType(options.engine)].precision,
        control=options.control,
        shards=options.shards,
        max_concurrent_requests=options.max_concurrent_requests,
        patience=Patience(reprove=options.reprove_seconds),
    )


async def run(options: Options, source: Source) -> None:
    """Run on any source of routes until SIGTERM."""
    options.cache.mkdir(parents=True, exist_ok=True)
    settings = settings_of(options)
    async with session(options.answer_seconds) as connection:
        drain = Drain()
        http = EngineHttp(connection, options.engine_url, check_seconds=settings.patience.check)
        reconciler = Reconciler(DIALECTS[options.engine](http), settings, drain)
        agent = Agent(reconciler, connection, options.engine_url, drain)
        agent.in_force.restore()
        await serve(agent, options, source, [reconciler.watch_engine(), reconciler.work()])


if __name__ == "__main__":
    main()
