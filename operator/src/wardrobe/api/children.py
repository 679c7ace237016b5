"""Labels and annotations by which the operator finds its children, and the reference by which it believes them."""

from .meta import Manifest

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "wardrobe"
OWNER_KIND_LABEL = "wardrobe.dev/owner-kind"
OWNER_LABEL = "wardrobe.dev/owner"
RUN_LABEL = "wardrobe.dev/run"
TASK_LABEL = "wardrobe.dev/task"
NUMBER_LABEL = "wardrobe.dev/number"
PART_LABEL = "wardrobe.dev/part"
"""Of an AdapterDeployment's pods: engine or router."""
LINE_LABEL = "wardrobe.dev/line"
RUN_UID_LABEL = "wardrobe.dev/run-uid"

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's: a Job that carries it waits, suspended, until the queue lets it in."""
QUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
"""Kueue's: who goes before whom in a queue."""
QUEUE_LABELS = (QUEUE_LABEL, QUEUE_PRIORITY_LABEL)
"""Those that a person writes on a run, and its Jobs carry."""
WORKLOAD_JOB_LABEL = "kueue.x-k8s.io/job-uid"
"""Of what Kueue keeps for a Job: the Job's uid."""

RESULT_ANNOTATION = "wardrobe.dev/result"
"""Followed by task and number, on a run's record: an attempt's result as JSON, from the pod's termination message.

Without these, on a Job: its own; so the first releases kept it."""
APPLIED_ANNOTATION = "wardrobe.dev/applied"
"""Digest of what we applied: tells when a spec of ours changed in what the API writes otherwise."""
BASE_DIGEST_ANNOTATION = "wardrobe.dev/base-digest"
"""On a Job: the base that it was made for."""
OVERDUE_ANNOTATION = "wardrobe.dev/deadline-exceeded"
"""On a run's record: when it was stopped, for its activeDeadlineSeconds were over."""
ADAPTER_ANNOTATION = "wardrobe.dev/adapter"
"""On a run's record, or of the first releases on its assess Job: the Adapter, or the BaseModel, that the run made."""

STOPPED_ANNOTATION = "wardrobe.dev/stopped"
"""Followed by task and number, on a run's record: why an attempt that is PREEMPTED there was ended on purpose."""

CONTAINER = "trainer"
"""Name of the only container in a task's pod."""
PROGRESS = "progress"
"""Name of its port, where its program answers how far it is."""


def controlled_by(child: Manifest, uid: str) -> bool:
    """Whether the child names this owner as its controller. Labels are for looking: anybody can write them."""
    references = child["metadata"].get("ownerReferences", [])
    return any(reference.get("controller") and reference["uid"] == uid for reference in references)
