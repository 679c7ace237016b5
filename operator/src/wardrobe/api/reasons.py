"""Every condition type and reason that the operator writes.

Reasons of a failed task come from `wardrobe_contracts.exits.Reason`; these are the operator's own. `make docs` writes
docs/conditions.md from both.
"""

from dataclasses import dataclass

from wardrobe_contracts.words import Word

from . import adapter, adapterdeployment, basemodel, finetunejob
from .meta import ConditionStatus


class ConditionType(Word):
    """Types of conditions."""

    READY = (
        "Ready",
        "Sums the object up: it can be used as its spec says. Where it has parts, the first that is not True speaks.",
    )
    SUCCEEDED = (
        "Succeeded",
        "Sums the run up: True once its Adapter or BaseModel is published, False once it never will be.",
    )
    DATASET_CHECKED = (
        "DatasetChecked",
        "The dataset follows the rules, and is split into rows to train on and rows held out.",
    )
    IMPORTED = (
        "Imported",
        "Only with method Import: the adapter's files are taken from their source, and are what an adapter of this "
        "base can be.",
    )
    TRAINED = ("Trained", "An attempt has trained to its end.")
    CHECKPOINTED = (
        "Checkpointed",
        "Only while the run trains: an attempt that is made after this one goes on from a checkpoint, and one can be "
        "written.",
    )
    TRACKED = (
        "Tracked",
        "Only with spec.tracking: the server has all that there is of the run so far, its parameters, curves and "
        "scores.",
    )
    PUBLISHED = (
        "Published",
        "What was trained or imported is evaluated, its files are in the store, and the Adapter or BaseModel exists.",
    )
    ADAPTERS_PROVED = (
        "AdaptersProved",
        "Every department is answered by the adapter that its spec names, and that adapter was proved.",
    )
    ROUTES_APPLIED = ("RoutesApplied", "All routers that requests may come through work by the newest routes.")
    KEYS_LOADED = ("KeysLoaded", "Every department has a key that opens it.")
    PODS_STARTED = ("PodsStarted", "Nothing keeps an engine or router pod from starting.")
    RECONCILING = (
        "Reconciling",
        "True while the summing condition is Unknown; same reason and message. Flux reads it.",
    )
    STALLED = (
        "Stalled",
        "True while the summing condition is False, or what it waits for is a person. Same reason and message.",
    )


BASE, RUN, ADAPTER, DEPLOYMENT = basemodel.KIND, finetunejob.KIND, adapter.KIND, adapterdeployment.KIND
READY, SUCCEEDED, CHECKED = ConditionType.READY, ConditionType.SUCCEEDED, ConditionType.DATASET_CHECKED
IMPORTED, TRAINED, PUBLISHED = ConditionType.IMPORTED, ConditionType.TRAINED, ConditionType.PUBLISHED
CHECKPOINTED, TRACKED = ConditionType.CHECKPOINTED, ConditionType.TRACKED
PROVED, KEYS_LOADED = ConditionType.ADAPTERS_PROVED, ConditionType.KEYS_LOADED
ROUTES_APPLIED, PODS_STARTED = ConditionType.ROUTES_APPLIED, ConditionType.PODS_STARTED
EVERY_STEP = (SUCCEEDED, CHECKED, IMPORTED, TRAINED, PUBLISHED)
ALL_OF_A_DEPLOYMENT = (READY, PODS_STARTED, PROVED, ROUTES_APPLIED, KEYS_LOADED)


@dataclass(frozen=True)
class Place:
    """Where a reason stands."""

    kind: str
    condition: str
    status: ConditionStatus


def on(status: ConditionStatus, kind: str, *conditions: ConditionType) -> tuple[Place, ...]:
    """The reason stands on these conditions of the kind, with this status."""
    return tuple(Place(kind, condition, status) for condition in conditions)


class OperatorReason(Word):
    """A member is written as the word, its meaning, the places where it stands, and the next step."""

    places: tuple[Place, ...]

    def __init__(self, word: str, meaning: str, places: tuple[Place, ...], next_step: str = "") -> None:
        super().__init__(word, meaning, next_step)
        self.places = places


class Waiting(OperatorReason):
    """Nothing is wrong yet, or somebody may still mend it: the operator goes on by itself."""

    PENDING = (
        "Pending",
        "An earlier step has to end first.",
        on("Unknown", RUN, IMPORTED, TRAINED, PUBLISHED),
        "wait; the earlier condition says how its step stands.",
    )
    RUNNING = (
        "Running",
        "The Job of this step exists, and nothing is in its way; the message names it.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, CHECKED, IMPORTED, TRAINED, PUBLISHED),
        "wait; `kubectl logs job/<name>` shows what it does.",
    )
    CHECKING = ("CheckingDataset", "The dataset is being checked and split.", on("Unknown", RUN, SUCCEEDED), "wait.")
    IMPORTING = (
        "ImportingAdapter",
        "The adapter's files are being taken from their source and checked.",
        on("Unknown", RUN, SUCCEEDED),
        "wait.",
    )
    TRAINING = (
        "Training",
        "The training attempt runs or starts.",
        on("Unknown", RUN, SUCCEEDED),
        "wait; the column PROGRESS says how far it is.",
    )
    ASSESSING = (
        "Assessing",
        "What was trained or imported is being evaluated and published.",
        on("Unknown", RUN, SUCCEEDED),
        "wait.",
    )
    UNSCHEDULABLE = (
        "Unschedulable",
        "No node fits the pod; the message is the scheduler's.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, *EVERY_STEP)
        + on("Unknown", DEPLOYMENT, READY, PODS_STARTED),
        "free or add a node; or delete the run and write another whose resources, nodeSelector and tolerations "
        "under spec.pod fit one (a BaseModel's spec.pod may be changed; then delete the inspection's Job).",
    )
    REPLACING_IN_PLACE = (
        "ReplacingInPlace",
        "Engine pods are replaced, as their image, quantization or resources have changed, and no node has room for "
        "one more: one leaves before another comes. It is said before the first leaves.",
        on("Unknown", DEPLOYMENT, READY, PODS_STARTED),
        "wait; the message says how many answer meanwhile. With room for a further pod none would have to leave first.",
    )
    POD_STUCK = (
        "PodStuck",
        "The pod cannot start (image, volume or security settings); the message is the kubelet's.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, *EVERY_STEP)
        + on("Unknown", DEPLOYMENT, READY, PODS_STARTED),
        "mend what the message names, such as the image's name or spec.pod.imagePullSecrets; the pod goes on by "
        "itself (a BaseModel's spec.pod is read when its inspection's Job is made: delete that Job after a "
        "change).",
    )
    POD_CRASHING = (
        "PodCrashing",
        "A container of an engine or router pod ends again and again; the message has its last line.",
        on("False", DEPLOYMENT, READY, PODS_STARTED),
        "`kubectl logs <pod> --container <name> --previous`; mend what it says in the pod's settings.",
    )
    POD_OUT_OF_MEMORY = (
        "PodOutOfMemory",
        "A container of an engine or router pod used more memory than its limit.",
        on("False", DEPLOYMENT, READY, PODS_STARTED),
        "raise `spec.engine.pod.resources.limits.memory`, or keep fewer adapters loaded.",
    )
    BASE_MODEL_NOT_FOUND = (
        "BaseModelNotFound",
        "spec.baseModel.name names no BaseModel in this namespace, or one that this release cannot read.",
        on("Unknown", RUN, *EVERY_STEP)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", DEPLOYMENT, *ALL_OF_A_DEPLOYMENT),
        "create the BaseModel; what waits for it goes on by itself.",
    )
    BASE_MODEL_NOT_READY = (
        "BaseModelNotReady",
        "The BaseModel is not inspected yet, or its inspection failed.",
        on("Unknown", RUN, *EVERY_STEP)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", DEPLOYMENT, *ALL_OF_A_DEPLOYMENT),
        "`kubectl describe bm <name>` says what is wrong with it.",
    )
    CLAIM_NOT_FOUND = (
        "ClaimNotFound",
        "A PersistentVolumeClaim that a pod would mount does not exist.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, SUCCEEDED, CHECKED)
        + on("Unknown", DEPLOYMENT, *ALL_OF_A_DEPLOYMENT),
        "create the claim that the message names; it is looked for every 15 seconds.",
    )
    CONFIG_MAP_NOT_FOUND = (
        "ConfigMapNotFound",
        "The ConfigMap, or its key, that holds the dataset does not exist.",
        on("Unknown", RUN, SUCCEEDED, CHECKED),
        "create the ConfigMap or add the key; it is looked for every 15 seconds.",
    )
    NO_REPLICA_READY = (
        "NoReplicaReady",
        "No engine pod is ready and can be reached.",
        on("Unknown", DEPLOYMENT, READY, PROVED),
        "wait while the base loads; if it lasts, `kubectl get pods` and `kubectl describe` of the engine's pods.",
    )
    PROVING = (
        "Proving",
        "Not every replica that is ready and can be reached has proved an adapter that is asked for.",
        on("Unknown", DEPLOYMENT, READY, PROVED),
        "wait; the former adapter goes on answering.",
    )
    ENGINE_RESTARTING = (
        "EngineRestarting",
        "An engine that takes adapters only when it starts is about to start anew with other ones, or does: one at a "
        "time, while the others answer.",
        on("Unknown", DEPLOYMENT, READY, PROVED),
        "wait; the message names the engine, and says what is waited for where none can be spared.",
    )
    ONLY_ENGINE_RESTARTING = (
        "OnlyEngineRestarting",
        "The same, and no other engine answers meanwhile: requests get 503 with Retry-After. It is said before.",
        on("Unknown", DEPLOYMENT, READY, PROVED),
        "wait; the message says how long it took last. With spec.replicas 2 or more a restart takes no answers away.",
    )
    MARKING_IN_USE = (
        "MarkingInUse",
        "An adapter is proved, but a hundred deployments use its Adapter already, and status.usedBy can name no more.",
        on("Unknown", DEPLOYMENT, READY, PROVED),
        "point one of them at another adapter, or name another in this one; it goes on by itself.",
    )
    ADAPTER_NOT_FOUND = (
        "AdapterNotFound",
        "A department names an Adapter that this namespace does not have.",
        on("False", DEPLOYMENT, READY, PROVED),
        "correct `spec.departments.<name>.adapter`, or wait for the run that makes it; `kubectl get adapters` "
        "lists what there is.",
    )
    ADAPTER_NOT_READY = (
        "AdapterNotReady",
        "A department names an Adapter that belongs to a base of another digest, or one that was written by hand and "
        "whose files are not verified; the message says why. What answered before goes on answering.",
        on("False", DEPLOYMENT, READY, PROVED),
        "name an Adapter of this deployment's base, or train one on it; wait where it is being verified.",
    )
    ADAPTER_UNREADABLE = (
        "AdapterUnreadable",
        "A department names an Adapter that this release of the operator cannot read; what is loaded goes on "
        "answering.",
        on("False", DEPLOYMENT, READY, PROVED),
        "apply the kinds of the operator's release (`helm upgrade` does), or name an Adapter that can be read.",
    )
    VARIANT_NOT_ASSESSED = (
        "VariantNotAssessed",
        "A department names an Adapter without scores on the deployment's quantization: its effect cannot be proved.",
        on("False", DEPLOYMENT, READY, PROVED),
        "set spec.quantization to a variant among the Adapter's evaluations; or train again with the variant in "
        "spec.evaluation.variants. A run measures on what deployments of its base have by then.",
    )
    ADAPTER_REJECTED = (
        "AdapterRejected",
        "A department names an Adapter that the gate of its run rejected, for it is worse than it may be; the message "
        "has the numbers. What answered before goes on answering.",
        on("False", DEPLOYMENT, READY, PROVED),
        "name another Adapter; or accept this one by its digest, which the message has, in "
        "`spec.departments.<name>.acceptRejected`.",
    )
    ENGINE_CANNOT_SERVE = (
        "EngineCannotServe",
        "The engine of spec.engine.type cannot serve the base so, or an Adapter that a department names; the message "
        "says which field is in the way.",
        on("False", DEPLOYMENT, READY, PROVED)
        + on("Unknown", DEPLOYMENT, PODS_STARTED, PROVED, ROUTES_APPLIED, KEYS_LOADED),
        "change the field that the message names, or choose another spec.engine.type; what answers already goes on.",
    )
    ADAPTERS_TOO_LARGE = (
        "AdaptersTooLarge",
        "With an Adapter that a department names, adapters would take more of an engine's memory than "
        "spec.engine.adapterMemory; it is not loaded, and the former adapter goes on answering.",
        on("False", DEPLOYMENT, READY, PROVED),
        "raise spec.engine.adapterMemory if the engine has it, serve fewer departments from one deployment, or train "
        "with a lower rank.",
    )
    NOT_PROVED = (
        "NotProved",
        "A replica has shown that an adapter is not applied as recorded; the former adapter goes on answering.",
        on("False", DEPLOYMENT, READY, PROVED),
        "the message gives the agent's verdict; see verdicts below. Point the department at another adapter meanwhile.",
    )
    ROUTERS_BEHIND = (
        "RoutersBehind",
        "Some routers do not work by the newest routes yet, or no router is ready.",
        on("Unknown", DEPLOYMENT, READY, ROUTES_APPLIED, KEYS_LOADED),
        "wait; if it lasts, look at the pods and logs of the routers that the message names.",
    )
    KEYS_MISSING = (
        "KeysMissing",
        "A department's Secret is missing or empty; its requests are refused until it is there.",
        on("False", DEPLOYMENT, READY, KEYS_LOADED),
        "create the Secret with an entry `keys`, one key per line; routers read it within about 90 seconds.",
    )
    KEYS_TOO_SHORT = (
        "KeysTooShort",
        "A department's Secret lists a key with fewer than 16 characters; that key opens nothing.",
        on("False", DEPLOYMENT, READY, KEYS_LOADED),
        "replace it with a random one, as `openssl rand -hex 24` prints; routers read it within about 90 seconds.",
    )
    KEYS_SHARED = (
        "KeysShared",
        "One key is in two departments' Secrets; it opens neither.",
        on("False", DEPLOYMENT, READY, KEYS_LOADED),
        "give each department keys of its own.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "Another's object has a name that is needed; the message names it. It is left alone.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, *EVERY_STEP)
        + on("Unknown", DEPLOYMENT, *ALL_OF_A_DEPLOYMENT)
        + on("False", DEPLOYMENT, READY, PROVED),
        "delete or rename the other object; or create the AdapterDeployment, BaseModel or run under another name.",
    )
    RECORD_UNREADABLE = (
        "RecordUnreadable",
        "A ConfigMap in which the operator keeps numbers says something that it did not write; nothing is made "
        "until it is mended. Stalled is True, although the summing condition is Unknown.",
        on("Unknown", BASE, READY) + on("Unknown", ADAPTER, READY) + on("Unknown", RUN, *EVERY_STEP),
        "mend the entry that the message names; it is read again every 15 seconds.",
    )
    OBJECT_UNREADABLE = (
        "ObjectUnreadable",
        "The object is not what this release of the operator knows under its kind: CRDs and operator are of two "
        "releases. Stalled is True, although the summing condition is Unknown. Other objects go on.",
        on("Unknown", BASE, READY)
        + on("Unknown", RUN, SUCCEEDED)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", DEPLOYMENT, READY),
        "install CRDs and operator of one release, or write the field that the message names as that release has it.",
    )
    API_REFUSED = (
        "ApiRefused",
        "The API refused an object that the operator makes from the spec; the message is the apiserver's.",
        on("Unknown", BASE, READY)
        + on("Unknown", ADAPTER, READY)
        + on("Unknown", RUN, SUCCEEDED)
        + on("Unknown", DEPLOYMENT, READY, PODS_STARTED),
        "mend the field, quota or policy that the message names; the operator tries again.",
    )
    QUEUED = (
        "Queued",
        "The Job of this step is suspended and has not begun, as a queue such as Kueue holds it. No attempt is "
        "lost by it.",
        on("Unknown", BASE, READY) + on("Unknown", ADAPTER, READY) + on("Unknown", RUN, *EVERY_STEP),
        "wait until the queue lets it in, the message has Kueue's words; without a queue, set the Job's `spec.suspend` "
        "to false.",
    )
    QUEUE_UNUSABLE = (
        "QueueUnusable",
        "The run's label names a queue that Kueue does not have, or that is not active; the message has Kueue's words. "
        "No attempt is lost by it.",
        on("Unknown", RUN, SUCCEEDED, TRAINED, PUBLISHED),
        "create the LocalQueue or its ClusterQueue, or put another's name into the label `kueue.x-k8s.io/queue-name` "
        "of run and Job; it is looked for every 15 seconds.",
    )
    SUSPENDED = (
        "Suspended",
        "spec.suspend is true: the run has no Job, or one that is told to stop and may still save. What is saved is "
        "kept, and nothing counts as lost.",
        on("Unknown", RUN, *EVERY_STEP),
        "set spec.suspend to false; the run goes on from its newest checkpoint.",
    )
    RETRYING = (
        "Retrying",
        "The last attempt was lost to the infrastructure; another one is being made.",
        on("Unknown", BASE, READY) + on("Unknown", ADAPTER, READY) + on("Unknown", RUN, *EVERY_STEP),
        "wait; the message says what took the last attempt and when the next begins.",
    )
    NO_CHECKPOINT_YET = (
        "NoCheckpointYet",
        "No attempt has written a checkpoint so far.",
        on("Unknown", RUN, CHECKPOINTED),
        "wait; spec.checkpoints.everySeconds says how often one is written.",
    )
    CHECKPOINT_NOT_WRITTEN = (
        "CheckpointNotWritten",
        "The last checkpoint could not be written. Training goes on; where it is interrupted, the steps since the one "
        "before are lost.",
        on("False", RUN, CHECKPOINTED),
        "look at the volume of the claim wardrobe-store, whose words the message has (full, read-only?); the next "
        "checkpoint is tried by itself.",
    )
    RESULT_NOT_WRITTEN = (
        "ResultNotWritten",
        "Training has come to its end, and what it trained could not be written. It is tried every ten seconds for a "
        "day.",
        on("False", RUN, CHECKPOINTED),
        "look at the volume of the claim wardrobe-store, whose words the message has; the run goes on by itself.",
    )
    NOT_TRACKED_YET = (
        "NotTrackedYet",
        "Nothing was sent to the server of spec.tracking so far.",
        on("Unknown", RUN, TRACKED),
        "wait; it begins with training, or where nothing is trained with assessing. A run that fails before is not "
        "tracked; a trainer's image of an earlier release tracks none.",
    )
    TRACKING_UNREACHABLE = (
        "TrackingUnreachable",
        "The server of spec.tracking does not answer. The run goes on as it would with it; what the server lacks is "
        "kept in the run's folder, and sent once it answers, at the latest when the run ends.",
        on("False", RUN, TRACKED),
        "see that the server runs and that the namespace's pods may reach it.",
    )
    TRACKING_REFUSED = (
        "TrackingRefused",
        "The server of spec.tracking does not let the run's credentials write, or wants some.",
        on("False", RUN, TRACKED),
        "mend the Secret that spec.tracking.mlflow.credentials names, or what it may write. Pods that are made from "
        "then on use it.",
    )
    TRACKING_GONE = (
        "TrackingGone",
        "Somebody has deleted the experiment or the run at the server. No other is made in its place.",
        on("False", RUN, TRACKED),
        "restore it at the server, and while the run goes on it gets what it lacks; or leave it.",
    )
    TRACKING_FAILED = (
        "TrackingFailed",
        "The server of spec.tracking answers, and does not take what it is told; the message has its words.",
        on("False", RUN, TRACKED),
        "look at the server's log, and whether spec.tracking.mlflow.uri is that of its API. Wardrobe is tested with "
        "MLflow 3.17.",
    )


class Done(OperatorReason):
    """A step or a resource is as it should be."""

    # written out: members of the same names hide the short ones

    INSPECTED = (
        "Inspected",
        "The model's files were read; the status holds their digest and shape.",
        on("True", BASE, ConditionType.READY),
    )
    CHECKED = (
        "Checked",
        "The dataset can be trained on; status.dataset holds its numbers, and warnings where it will disappoint.",
        on("True", RUN, ConditionType.DATASET_CHECKED),
    )
    IMPORTED = (
        "Imported",
        "The adapter's files are taken and checked; the message has their digest.",
        on("True", RUN, ConditionType.IMPORTED),
    )
    TRAINED = ("Trained", "Training came to its end.", on("True", RUN, ConditionType.TRAINED))
    SAVED = (
        "Saved",
        "There is a checkpoint; status.progress.saved says of which step while an attempt runs.",
        on("True", RUN, ConditionType.CHECKPOINTED),
    )
    TRACKED = (
        "Tracked",
        "The server has what there is of the run; status.tracking has its id there.",
        on("True", RUN, ConditionType.TRACKED),
    )
    PUBLISHED = (
        "Published",
        "The Adapter or BaseModel exists, and its files are in the store.",
        on("True", RUN, ConditionType.PUBLISHED),
    )
    SUCCEEDED = (
        "Succeeded",
        "The run has made its Adapter or BaseModel, which status.adapter or status.baseModel names.",
        on("True", RUN, ConditionType.SUCCEEDED),
    )
    PROVED = (
        "Proved",
        "Every replica that is ready and can be reached has proved the adapter that it answers with.",
        on("True", DEPLOYMENT, ConditionType.ADAPTERS_PROVED),
    )
    APPLIED = (
        "Applied",
        "All routers that are ready or answer report the newest routes.",
        on("True", DEPLOYMENT, ConditionType.ROUTES_APPLIED),
    )
    KEYS_LOADED = (
        "KeysLoaded",
        "All routers have a key for every department.",
        on("True", DEPLOYMENT, ConditionType.KEYS_LOADED),
    )
    STARTED = ("Started", "Nothing keeps a pod from starting.", on("True", DEPLOYMENT, ConditionType.PODS_STARTED))
    NOT_REQUIRED = (
        "NotRequired",
        "spec.authentication is None: whoever reaches the Service is answered.",
        on("True", DEPLOYMENT, ConditionType.KEYS_LOADED),
    )
    SERVING = ("Serving", "Every department is answered as its spec says.", on("True", DEPLOYMENT, ConditionType.READY))
    ACCEPTED = (
        "Accepted",
        "The Adapter's base exists under the digest that the Adapter names, and a run has made its files, or a Job has "
        "verified them.",
        on("True", ADAPTER, ConditionType.READY),
    )


class Failure(OperatorReason):
    """It cannot go on as it is."""

    RETRIES_EXHAUSTED = (
        "RetriesExhausted",
        "Too many attempts were lost to the infrastructure.",
        on("False", BASE, READY) + on("False", ADAPTER, READY) + on("False", RUN, *EVERY_STEP),
        "mend what took them, as the message and the nodes' events say; then delete the object and create it again.",
    )
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        "The run's Jobs might run for spec.activeDeadlineSeconds and had not done the work. While it is Unknown, the "
        "last one is told to stop and may still save.",
        on("False", RUN, *EVERY_STEP) + on("Unknown", RUN, *EVERY_STEP),
        "create the run again with a longer activeDeadlineSeconds, or with less to do. It begins anew: a checkpoint "
        "belongs to its run.",
    )
    BASE_MODEL_CHANGED = (
        "BaseModelDigestDiffers",
        "The Adapter, or what a deployment serves, belongs to a base of another digest than the BaseModel now has.",
        on("False", ADAPTER, READY) + on("False", DEPLOYMENT, READY, PROVED),
        "serve it on a BaseModel of its own digest, or train the line again on this one.",
    )
