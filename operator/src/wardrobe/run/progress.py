"""Progress of running trainings: pulled over HTTP from the training pod, written every ten seconds to a minute.

It writes `status.progress` alone. Reconcile hands a run over with `follow` and takes it back with `forget`, which
waits for a write that is under way, so that a stale number never lands on a finished run.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import pydantic

from wardrobe import podhttp
from wardrobe.api.finetunejob import ProgressStatus, TrackingProgress
from wardrobe.api.meta import Key
from wardrobe.kube.client import ConflictError, Kube, UnavailableError
from wardrobe_contracts.text import shorten
from wardrobe_contracts.tracking import Tracked
from wardrobe_contracts.training import Progress

PULL_SECONDS = 3.0
SHORTEST_WRITE_SECONDS = 10.0
LONGEST_WRITE_SECONDS = 60.0
WRITES_PER_TRAINING = 8
"""About so many writes for a training of up to eight minutes; a longer one is written every minute."""
ANSWER_SECONDS = 2.0
"""For a whole answer."""

log = logging.getLogger(__name__)


@dataclass
class _Followed:
    url: str
    began: float
    written_at: float = float("-inf")
    written: Progress | None = None


class ProgressPoller:
    """Follows the trainings that run now. `clock` gives monotonic seconds, `now` the time as the API writes it."""

    def __init__(
        self, kube: Kube, clock: Callable[[], float], now: Callable[[], str], every: float = PULL_SECONDS
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._now = now
        self._every = every
        self._followed: dict[Key, _Followed] = {}
        self._writing = asyncio.Lock()

    def follow(self, key: Key, url: str) -> None:
        """Pull this run's progress from now on."""
        if key not in self._followed or self._followed[key].url != url:
            self._followed[key] = _Followed(url, self._clock())

    async def forget(self, key: Key) -> None:
        """Stop; afterwards nothing more is written for the run."""
        if self._followed.pop(key, None):
            async with self._writing:
                pass

    async def run(self) -> None:
        """Pull all followed runs, for ever."""
        async with podhttp.session(ANSWER_SECONDS) as session:
            while True:
                await asyncio.gather(*(self._pull(session, key) for key in list(self._followed)))
                await asyncio.sleep(self._every)

    async def _pull(self, session: aiohttp.ClientSession, key: Key) -> None:
        followed = self._followed.get(key)
        if followed is None:  # forgotten since this round began
            return
        try:
            progress = Progress.model_validate_json(await podhttp.get(session, followed.url))
        except (podhttp.AnswerError, aiohttp.ClientError, TimeoutError, pydantic.ValidationError) as error:
            log.debug("no progress of %s yet: %s", key, error)
            return
        pause = write_pause(self._clock() - followed.began, progress.seconds_left or 0)
        if progress != followed.written and self._clock() - followed.written_at >= pause:
            await self._write(key, followed, progress)

    async def _write(self, key: Key, followed: _Followed, progress: Progress) -> None:
        async with self._writing:
            if self._followed.get(key) is not followed:
                return
            patch = {"progress": to_status(progress, self._now()).model_dump(by_alias=True, mode="json")}
            try:
                await self._kube.patch_status(key, patch)
            except (ConflictError, UnavailableError) as error:
                log.info("progress of %s not written: %s", key, error)
                return
            followed.written, followed.written_at = progress, self._clock()


def write_pause(elapsed: float, left: float) -> float:
    """Seconds between two writes of a training that has run for `elapsed` and has `left` to go."""
    return min(max((elapsed + left) / WRITES_PER_TRAINING, SHORTEST_WRITE_SECONDS), LONGEST_WRITE_SECONDS)


def to_status(progress: Progress, now: str) -> ProgressStatus:
    """The launcher's numbers as the status says them: decimals as strings, and a summary for the column."""
    return ProgressStatus(
        summary=_summary(progress),
        stage=progress.stage,
        step=progress.step,
        steps=progress.steps,
        epoch=f"{progress.epoch:.2f}",
        loss=None if progress.loss is None else f"{progress.loss:.4f}",
        tokens_per_second=None if progress.tokens_per_second is None else f"{progress.tokens_per_second:.0f}",
        seconds_left=progress.seconds_left,
        saved=progress.reached.saved if progress.reached else None,
        problem=progress.problem,
        tracking=_tracking(progress.tracked) if progress.tracked else None,
        updated=now,
    )


def _tracking(found: Tracked) -> TrackingProgress:
    reason, message = (found.fault.reason.value, found.fault.message) if found.fault else (None, None)
    return TrackingProgress(
        run_id=found.run_id,
        experiment_id=found.experiment_id,
        reason=reason,
        message=message and shorten(message, 1024),
    )


def _summary(progress: Progress) -> str:
    if progress.stage != "Training":
        return "training: loading the base" if progress.stage == "Loading" else "training: saving"
    left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
    share = f" ({progress.step / progress.steps:.0%})" if progress.steps else ""
    return f"training {progress.step}/{progress.steps}{share}{left}"


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    return f"{minutes}m" if minutes < 120 else f"{minutes // 60}h{minutes % 60:02d}m"
