"""A pod's status has one reader: what a field of it means is decided once, for pods that train and pods that answer."""

from pathlib import Path

import pytest

import wardrobe
from wardrobe.manifests import pod_status

OPERATOR = Path(wardrobe.__file__).parent
OF_A_POD = ("podIP", "containerStatuses", "initContainerStatuses", '"phase"', '"terminated"')


@pytest.mark.parametrize("name", OF_A_POD)
def test_no_other_file_of_the_operator_reads_it(name: str) -> None:
    readers = {path.relative_to(OPERATOR) for path in OPERATOR.rglob("*.py") if name in path.read_text()}
    assert readers == {Path("manifests/pod_status.py")}


def test_an_address_is_given_while_the_pod_runs_and_the_ip_always() -> None:
    leaving = {"status": {"phase": "Succeeded", "podIP": "10.0.0.7"}}
    assert pod_status.address(leaving) is None
    assert pod_status.ip(leaving) == "10.0.0.7"
    assert pod_status.address({"status": {"phase": "Running", "podIP": "10.0.0.7"}}) == "10.0.0.7"
    assert pod_status.ip({}) is None


def test_why_a_pod_ended_is_what_was_left_of_it() -> None:
    assert pod_status.why_ended({"status": {"reason": "Evicted", "message": ""}}) == {"reason": "Evicted"}
    assert pod_status.why_ended({}) == {}
