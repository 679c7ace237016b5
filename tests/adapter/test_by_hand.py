"""An Adapter that somebody wrote by hand is Ready once a Job has held it against its files; a run's own is at once."""

import asyncio
import functools

import pytest
from support import resources, results
from support.fake_cluster import FakeCluster, kill_after

from wardrobe.api import children
from wardrobe.api.meta import Key, Manifest
from wardrobe_contracts.base import Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.gate import Verdict
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import Result
from wardrobe_contracts.verification import VerifyConfig

NAMESPACE = "hospital"
KEY = Key("Adapter", NAMESPACE, "cardiology-v3")
GOOD = results.success("verify")
PROBLEM = Problem(
    field="spec.digest", value="sha256:0", rule="the files of adapters/x have sha256:1", next_step="Write it as it is"
)
BAD = Result.failure("verify", ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID, str(PROBLEM), PROBLEM)


def ward(adapter: Manifest, *, claims: bool = True, **base: object) -> FakeCluster:
    cluster = FakeCluster()
    wanted = {**resources.base_model(pod={"nodeSelector": {"disk": "fast"}}), "status": resources.ready_base()} | base
    cluster.put(wanted, NAMESPACE)
    for claim in ("wardrobe-store", "models") if claims else ():
        cluster.put(resources.claim(claim), NAMESPACE)
    cluster.put(adapter, NAMESPACE)
    return cluster


def settle(cluster: FakeCluster, result: Result = GOOD) -> None:
    """Until nothing happens any more; each Job ends so."""
    for _ in range(20):
        before = cluster.contents()
        asyncio.run(cluster.reconciler().reconcile(KEY))
        cluster.start_pods()
        busy = cluster.answering()
        for pod in busy:
            cluster.end_pod(pod, result)
        cluster.collect_pods()
        if not busy and cluster.contents() == before:
            return
    raise AssertionError("it never settles")


def ready(cluster: FakeCluster) -> tuple[str, str, str]:
    conditions = cluster.objects[KEY]["status"]["conditions"]
    found = next(one for one in conditions if one["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


def by_hand() -> Manifest:
    return resources.by_hand(resources.adapter("cardiology-v3"))


def test_one_that_a_run_has_made_needs_no_further_look() -> None:
    cluster = ward(resources.adapter("cardiology-v3"))
    settle(cluster)
    assert ready(cluster) == ("True", "Accepted", "fits BaseModel base")
    assert cluster.names("Job") == []


def test_one_by_hand_is_ready_after_its_job_and_not_before() -> None:
    cluster = ward(by_hand())
    asyncio.run(cluster.reconciler().reconcile(KEY))
    status, reason, message = ready(cluster)
    assert (status, reason) == ("Unknown", "Running")
    assert message.startswith("verifying its files: Job cardiology-v3-")
    settle(cluster)
    assert ready(cluster) == ("True", "Accepted", "fits BaseModel base, and its files are what it says")
    assert len(cluster.names("Job")) == 1


def test_what_it_says_of_files_that_are_others() -> None:
    cluster = ward(by_hand())
    settle(cluster, BAD)
    status, reason, message = ready(cluster)
    assert (status, reason) == ("False", "AdapterInvalid")
    assert message == (
        "spec.digest is 'sha256:0': the files of adapters/x have sha256:1. Write it as it is. "
        "Mend that, then delete the Adapter and create it again: its files are verified once"
    )
    assert len(cluster.names("Job")) == 1, "nothing changes by looking again"


def test_killed_after_each_write_of_a_life() -> None:
    undisturbed = ward(by_hand())
    settle(undisturbed)
    for n in range(1, undisturbed.writes + 1):
        cluster = ward(by_hand())
        kill_after(cluster, n, functools.partial(settle, cluster))
        assert ready(cluster) == ready(undisturbed)
        assert len(cluster.names("Job")) == 1


@pytest.mark.parametrize("result", [GOOD, BAD], ids=["good", "bad"])
def test_a_wiped_status_comes_back_without_another_pod(result: Result) -> None:
    cluster = ward(by_hand())
    settle(cluster, result)
    before, made = ready(cluster), list(cluster.created)
    del cluster.objects[KEY]["status"]
    settle(cluster, result)
    assert (ready(cluster), cluster.created) == (before, made)


def test_a_run_that_is_lost_to_the_infrastructure_is_made_again() -> None:
    cluster = ward(by_hand())
    settle(cluster, results.preempted("verify"))
    status, reason, message = ready(cluster)
    assert (status, reason) == ("False", "RetriesExhausted")
    assert message.startswith("11 attempts were lost to the infrastructure")


def test_nothing_is_made_while_a_claim_is_missing() -> None:
    cluster = ward(by_hand(), claims=False)
    settle(cluster)
    status, reason, message = ready(cluster)
    assert (status, reason) == ("Unknown", "ClaimNotFound")
    assert "PersistentVolumeClaim 'wardrobe-store'" in message
    assert cluster.names("Job") == []


def test_nothing_is_made_on_a_base_of_another_digest() -> None:
    cluster = ward(by_hand(), status=resources.ready_base(digest=results.digest("9")))
    settle(cluster)
    assert ready(cluster)[:2] == ("False", "BaseModelDigestDiffers")
    assert cluster.names("Job") == []


def test_what_the_job_is_told() -> None:
    rejected = by_hand()
    rejected["spec"]["verdict"] = "Rejected"
    cluster = ward(rejected)
    settle(cluster)
    [job] = [found for key, found in cluster.objects.items() if key.kind == "Job"]
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    [text] = [found["value"] for found in container["env"] if found["name"] == "WARDROBE_CONFIG"]
    order = VerifyConfig.model_validate_json(text)
    written = by_hand()["spec"]
    assert (order.adapter, order.artifact) == ("cardiology-v3", written["artifact"]["path"])
    assert order.artifact_folder == f"/wardrobe/store/{written['artifact']['path']}"
    assert (order.digest, order.manifest_digest) == (written["digest"], written["manifestDigest"])
    assert (order.rank, order.alpha) == (4, 8)
    assert [(one.variant, one.base, one.candidate) for one in order.measured] == [
        (Variant.NONE, 2.0, 2.0),
        (Variant.NF4, 2.0, 2.0),
    ]
    assert order.verdict is Verdict.REJECTED
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/wardrobe/store"]["readOnly"] is True
    assert spec["nodeSelector"] == {"disk": "fast"}, "as its base's inspection"
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Adapter", cluster.objects[KEY]["metadata"]["uid"])
    assert job["metadata"]["labels"][children.OWNER_KIND_LABEL] == "Adapter"


def test_names_of_jobs_have_room_whatever_the_adapter_is_called() -> None:
    line = "a" + "-long" * 7 + "-way"
    made = resources.by_hand(resources.adapter(f"{line}-v999999"))
    key = Key("Adapter", NAMESPACE, made["metadata"]["name"])
    cluster = ward(made)
    asyncio.run(cluster.reconciler().reconcile(key))
    assert len(line) == 40
    [job] = cluster.names("Job")
    assert len(job) + len("9") <= 63
