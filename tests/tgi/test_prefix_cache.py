"""A TGI that ignored what Wardrobe sets and kept one cache for all adapters: the stand-in, and the real one."""

from pathlib import Path

import pytest
from support.artifacts import copied
from support.gateway import until
from support.tgi_pods import launcher, tgi_pod
from support.waiting import HANG

from wardrobe_contracts.state import Reason, Verdict

pytestmark = pytest.mark.tgi


@pytest.mark.parametrize(
    ("switch", "expected"),
    [("1", (Verdict.DIVERGED, Reason.ANSWERS_MIXED)), ("0", (Verdict.APPLIED, Reason.PROVED))],
)
async def test_its_cache_is_found_out_though_adapters_are_alike(
    base: Path, recorded: Path, tmp_path: Path, switch: str, expected: tuple[Verdict, Reason]
) -> None:
    """Of one line they are, and what one has read of a text hardly differs from what another would. The probes' prompts
    are shorter than a block of the cache."""
    store = tmp_path / "store"
    live, *others = (copied(store, recorded / "root-v1", f"root-v{number}") for number in (1, 2, 3, 4))

    def judged() -> bool:
        found = pod.agent.state().adapters.values()
        return len(found) == 4 and all(one.numbers is not None for one in found)

    async with tgi_pod(store, tmp_path / "cache", launcher(tmp_path / "run", base, PREFIX_CACHING=switch)) as pod:
        pod.give(live, *others, live=live)
        await until(judged, what=pod.agent.state, within=HANG)
        state = pod.agent.state()
    assert {(found.verdict, found.reason) for found in state.adapters.values()} == {expected}, state
