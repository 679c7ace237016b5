"""The Job controller's judgement, for Jobs of one pod or several with our policy: one failure fails the Job."""

from collections.abc import Sequence

from wardrobe.api.children import CONTAINER
from wardrobe.api.meta import Manifest
from wardrobe.manifests import pod_status
from wardrobe_contracts.exits import FAILURE_CODES

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"


def followed(job: Manifest, pods: Sequence[Manifest], *, missing: bool) -> list[Manifest]:
    """Give the Job the end that its pods have brought. Returns the pods that are told to stop because of it.

    With `missing`, an index whose pod is gone has failed. A Job that fails has no end before the last of its pods has;
    one that is suspended fails of nothing.
    """
    status = job.setdefault("status", {})
    if status.get("conditions"):
        return []
    done = set(status.get("done", [])) | {pod_status.number(pod) for pod in pods if _phase(pod) == "Succeeded"}
    status["done"] = sorted(done)
    wanted = set(range(job["spec"].get("completions", 1)))
    if done == wanted:
        status["conditions"] = [{"type": "Complete", "status": "True"}]
        return []
    failed = [pod for pod in pods if _phase(pod) == "Failed"]
    gone = wanted - done - {pod_status.number(pod) for pod in pods}
    if job["spec"].get("suspend") or not (failed or (missing and gone and "startTime" in status)):
        return []
    running = [pod for pod in pods if not pod_status.has_ended(pod)]
    if not running:
        message = _why(failed[0]) if failed else _DISRUPTED
        status["conditions"] = [
            {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message},
        ]
    return running


_DISRUPTED = "Pod a/b has condition DisruptionTarget matching FailJob rule at index 1"


def _why(pod: Manifest) -> str:
    code = pod_status.container(pod, CONTAINER).get("state", {}).get("terminated", {}).get("exitCode")
    if code in set(FAILURE_CODES):
        return f"Container trainer for pod a/b failed with exit code {code} matching FailJob rule at index 0"
    marked = pod_status.condition(pod, "DisruptionTarget")
    return _DISRUPTED if marked else "Job has reached the specified backoff limit"


def _phase(pod: Manifest) -> str | None:
    phase: str | None = pod.get("status", {}).get("phase")
    return phase
