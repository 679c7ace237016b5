"""The trainer's process that tells a server of MLflow, and a training beside it that is only a curve."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.tracking import DatasetInput, MlflowTracking, Tracked
from wardrobe_trainer.tracking.beside import MODULE, environment
from wardrobe_trainer.tracking.commission import COMMISSION_FILE, Commission, read_state
from wardrobe_trainer.tracking.curve import CURVE_FILE, Point

from . import results
from .real_engines import python
from .waiting import HANG, eventually

EVERY_SECONDS = 0.2
PARAMETERS = {"learning_rate": "0.001", "base.name": "tantanila-base"}


def tracking(uri: str, experiment: str, secret: str | None = None) -> MlflowTracking:
    """As an order has it."""
    return MlflowTracking(
        uri=uri,
        experiment=experiment,
        secret=secret,
        run="cardiology-1a2b3c4d",
        run_uid="1a2b3c4d-0000-4000-8000-000000000000",
        dataset=DatasetInput(source="pvc://datasets/cardiology.jsonl", digest=results.digest("1")),
        parameters=PARAMETERS,
        tags={"wardrobe.line": "cardiology"},
        artifacts="pvc://wardrobe-store/adapters/cardiology",
    )


@dataclass
class Telling:
    """One run in `folder`, whose attempts and tasks are told one after the other."""

    folder: Path
    tracking: MlflowTracking
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the pods' environment."""
    attempt: int = 1
    step: int = 0
    _processes: int = 0

    @property
    def own(self) -> Path:
        """The attempt's folder."""
        return self.folder / "run" / str(self.attempt)

    @property
    def live(self) -> Path:
        """The curve in the attempt's container."""
        return self.folder / f"container-{self.attempt}" / CURVE_FILE

    def trains(self, steps: int) -> None:
        """So many more."""
        self.live.parent.mkdir(exist_ok=True)
        with self.live.open("a") as file:
            for self.step in range(self.step + 1, self.step + steps + 1):  # noqa: B020
                point = Point(
                    step=self.step,
                    time=1_790_000_000_000 + 1000 * self.attempt + self.step,
                    loss=1 / self.step,
                    learning_rate=0.001,
                    tokens_per_second=50,
                    peak_memory_bytes=2**30,
                )
                file.write(point.model_dump_json(by_alias=True) + "\n")

    def ends(self, result: Result, folder: str | None = None) -> None:
        """As a task records it."""
        own = self.folder / "run" / (folder or str(self.attempt))
        own.mkdir(parents=True, exist_ok=True)
        (own / RESULT_FILE).write_text(result.model_dump_json(by_alias=True))

    def start(self, result: Result | None = None, folder: str | None = None) -> "Process":
        """The process beside training, or the one that tells how a task ended."""
        if result:
            self.ends(result, folder)
        own = self.folder / "run" / folder if folder else self.own
        own.mkdir(parents=True, exist_ok=True)
        self._processes += 1
        place = self.folder / f"process-{self._processes}"
        place.mkdir()
        commission = Commission(
            tracking=self.tracking,
            task=result.task if result else "train",
            folder=str(own),
            curve=None if result else str(self.live),
            every_seconds=EVERY_SECONDS,
            parent=os.getpid(),
        )
        (place / COMMISSION_FILE).write_text(commission.model_dump_json(by_alias=True))
        variables = environment(place, {**os.environ, **self.variables})
        with (place / "log").open("wb") as log:
            command = [str(python("trainer")), "-m", MODULE, str(place)]
            return Process(place, subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT))

    def told(self, result: Result, folder: str | None = None) -> Tracked:
        """How the server stands once it was told how a task ended."""
        process = self.start(result, folder)
        assert process.popen.wait(HANG) == 0, process.log
        state = process.state
        assert state is not None, process.log
        return state


@dataclass(frozen=True)
class Process:
    """One that runs, or did."""

    place: Path
    popen: "subprocess.Popen[bytes]"

    @property
    def state(self) -> Tracked | None:
        return read_state(self.place)

    @property
    def log(self) -> str:
        return (self.place / "log").read_text()

    def says(self, reason: str | None) -> Tracked:
        """What it says once it says this; None for that all is there."""

        def said() -> Tracked | None:
            assert self.popen.poll() is None, self.log
            found = self.state
            return found if found and (found.fault.reason.value if found.fault else None) == reason else None

        return eventually(said, what=lambda: self.log)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(HANG) == 0, self.log
