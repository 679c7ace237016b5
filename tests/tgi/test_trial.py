"""A TGI under its wrapper and agent: what it is started with is on trial until all of that is proved."""

from pathlib import Path

import pytest
from support import tgi
from support.artifacts import copied
from support.tgi_pods import stand_in, tgi_pod
from support.waiting import HANG

from wardrobe_contracts.state import Reason, Verdict

pytestmark = [pytest.mark.tgi, pytest.mark.skipif(tgi.REAL is not None, reason="switches of the stand-in")]


async def test_a_set_with_which_tgi_ends_at_a_request_is_followed_by_the_one_before(
    base: Path, recorded: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    good, bad = copied(store, recorded / "root-v1"), copied(store, recorded / "half-v1")
    async with tgi_pod(store, tmp_path / "cache", stand_in(base, STAND_IN_CRASH_ASKED=bad.name)) as pod:
        pod.give(good, live=good)
        await pod.proved(good.name, within=HANG)
        before = pod.sets.running
        page = (await pod.agent.metrics_page()).decode()
        assert "\ntgi_request_success " in page
        pod.give(good, bad, live=good)
        failed = await pod.restarted()
        assert pod.sets.on_trial
        state = await pod.judged(bad.name, Verdict.LOAD_FAILED, within=HANG)
        assert state.reason is Reason.REFUSED_BY_ENGINE
        assert "ended 2 times" in state.message
        await pod.proved(good.name, within=HANG)
        assert (pod.sets.running, pod.sets.failed, pod.sets.on_trial) == (before, failed, False)
