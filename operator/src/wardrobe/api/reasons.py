"""Every condition type and reason that the operator writes.

Reasons of a failed task come from `wardrobe_contracts.exits.Reason`; these are the operator's own.

`make docs` writes docs/conditions.md from the texts below the members. Each says what the word means; then, in lines of
their own, with which status it stands on which conditions of which kinds, and after `Next:` what a person does.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of conditions."""

    READY = "Ready"
    """Sums the object up: it can be used as its spec says. Where it has parts, the first that is not True speaks."""
    SUCCEEDED = "Succeeded"
    """Sums the run up: True once its Adapter is published, False once it never will be."""
    DATASET_CHECKED = "DatasetChecked"
    """The dataset follows the rules, and is split into rows to train on and rows held out."""
    TRAINED = "Trained"
    """An attempt has trained to its end."""
    PUBLISHED = "Published"
    """The adapter is evaluated, its files are in the store, and the Adapter exists."""
    ADAPTERS_PROVED = "AdaptersProved"
    """Every department is answered by the version that its spec names, and that version was proved."""
    ROUTES_APPLIED = "RoutesApplied"
    """All routers work by the newest routes."""
    KEYS_LOADED = "KeysLoaded"
    """Every department has a key that opens it."""
    PODS_STARTED = "PodsStarted"
    """Nothing keeps an engine or router pod from starting."""
    RECONCILING = "Reconciling"
    """True while the summing condition is Unknown; same reason and message. Flux and Argo CD read it."""
    STALLED = "Stalled"
    """True while the summing condition is False: a person is asked for something. Same reason and message."""


class Waiting(StrEnum):
    """Nothing is wrong yet, or somebody may still mend it: the operator goes on by itself."""

    PENDING = "Pending"
    """An earlier step has to end first.

    Unknown on FineTuneJob Trained, Published.
    Next: wait; the earlier condition says how its step stands.
    """
    RUNNING = "Running"
    """The Job of this step exists, and nothing is in its way; the message names it.

    Unknown on BaseModel Ready; FineTuneJob DatasetChecked, Trained, Published.
    Next: wait; `kubectl logs job/<name>` shows what it does.
    """
    CHECKING = "CheckingDataset"
    """The dataset is being checked and split.

    Unknown on FineTuneJob Succeeded.
    Next: wait.
    """
    TRAINING = "Training"
    """The training attempt runs or starts.

    Unknown on FineTuneJob Succeeded.
    Next: wait; the column PROGRESS says how far it is.
    """
    ASSESSING = "Assessing"
    """The adapter is being evaluated and published.

    Unknown on FineTuneJob Succeeded.
    Next: wait.
    """
    UNSCHEDULABLE = "Unschedulable"
    """No node fits the pod; the message is the scheduler's.

    Unknown on BaseModel Ready; FineTuneJob Succeeded, DatasetChecked, Trained, Published;
    AdapterDeployment Ready, PodsStarted.
    Next: free or add a node; or delete the run and write another whose resources, nodeSelector and tolerations under
    spec.pod fit one.
    """
    POD_STUCK = "PodStuck"
    """The pod cannot start (image, volume or security settings); the message is the kubelet's.

    Unknown on BaseModel Ready; FineTuneJob Succeeded, DatasetChecked, Trained, Published;
    AdapterDeployment Ready, PodsStarted.
    Next: mend what the message names, such as the image's name or spec.pod.imagePullSecrets; the pod goes on by itself.
    """
    POD_CRASHING = "PodCrashing"
    """A container of an engine or router pod ends again and again; the message has its last line.

    False on AdapterDeployment Ready, PodsStarted.
    Next: `kubectl logs <pod> --container <name> --previous`; mend what it says in the pod's settings.
    """
    POD_OUT_OF_MEMORY = "PodOutOfMemory"
    """A container of an engine or router pod used more memory than its limit.

    False on AdapterDeployment Ready, PodsStarted.
    Next: raise `spec.engine.pod.resources.limits.memory`, or keep fewer versions loaded.
    """
    BASE_MODEL_NOT_FOUND = "BaseModelNotFound"
    """spec.baseModel.name names no BaseModel in this namespace.

    Unknown on FineTuneJob Succeeded, DatasetChecked, Trained, Published; Adapter Ready;
    AdapterDeployment Ready, PodsStarted, AdaptersProved, RoutesApplied, KeysLoaded.
    Next: create the BaseModel; what waits for it goes on by itself.
    """
    BASE_MODEL_NOT_READY = "BaseModelNotReady"
    """The BaseModel is not inspected yet, or its inspection failed.

    Unknown on FineTuneJob Succeeded, DatasetChecked, Trained, Published; Adapter Ready;
    AdapterDeployment Ready, PodsStarted, AdaptersProved, RoutesApplied, KeysLoaded.
    Next: `kubectl describe bm <name>` says what is wrong with it.
    """
    CLAIM_NOT_FOUND = "ClaimNotFound"
    """A PersistentVolumeClaim that a pod would mount does not exist.

    Unknown on BaseModel Ready; FineTuneJob Succeeded, DatasetChecked;
    AdapterDeployment Ready, PodsStarted, AdaptersProved, RoutesApplied, KeysLoaded.
    Next: create the claim that the message names; it is looked for every 15 seconds.
    """
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    """The ConfigMap, or its key, that holds the dataset does not exist.

    Unknown on FineTuneJob Succeeded, DatasetChecked.
    Next: create the ConfigMap or add the key; it is looked for every 15 seconds.
    """
    NO_REPLICA_READY = "NoReplicaReady"
    """No engine pod is ready yet.

    Unknown on AdapterDeployment Ready, AdaptersProved.
    Next: wait while the base loads; if it lasts, `kubectl get pods` and `kubectl describe` of the engine's pods.
    """
    PROVING = "Proving"
    """Not every ready replica has proved a version that is asked for.

    Unknown on AdapterDeployment Ready, AdaptersProved.
    Next: wait; the former version goes on answering.
    """
    MARKING_IN_USE = "MarkingInUse"
    """A version is proved, and is routed as soon as its Adapter's status.usedBy names the deployment.

    Unknown on AdapterDeployment Ready, AdaptersProved.
    Next: wait; it takes a moment. If it lasts, the Adapter is named by a hundred deployments already.
    """
    ADAPTER_NOT_FOUND = "AdapterNotFound"
    """A department names an Adapter that this namespace does not have.

    False on AdapterDeployment Ready, AdaptersProved.
    Next: correct `spec.departments.<name>.adapter`, or wait for the run that makes it; `kubectl get adapters` lists
    what there is.
    """
    ADAPTER_NOT_READY = "AdapterNotReady"
    """A department names an Adapter that belongs to a base of another digest.

    False on AdapterDeployment Ready, AdaptersProved.
    Next: name an Adapter of this deployment's base, or train one on it.
    """
    VARIANT_NOT_ASSESSED = "VariantNotAssessed"
    """A department names an Adapter without scores on the deployment's quantization: its effect cannot be proved.

    False on AdapterDeployment Ready, AdaptersProved.
    Next: set spec.quantization to a variant among the Adapter's evaluations; or add the variant to the BaseModel and
    train again.
    """
    NOT_PROVED = "NotProved"
    """A replica has shown that a version is not applied as recorded; the former version goes on answering.

    False on AdapterDeployment Ready, AdaptersProved.
    Next: the message gives the agent's verdict; see verdicts below. Point the department at another version meanwhile.
    """
    ROUTERS_BEHIND = "RoutersBehind"
    """Some routers do not work by the newest routes yet, or no router answers.

    Unknown on AdapterDeployment Ready, RoutesApplied, KeysLoaded.
    Next: wait; if it lasts, look at the pods and logs of the routers that the message names.
    """
    KEYS_MISSING = "KeysMissing"
    """A department's Secret is missing or empty; its requests are refused until it is there.

    False on AdapterDeployment Ready, KeysLoaded.
    Next: create the Secret with an entry `keys`, one key per line; routers read it within about 90 seconds.
    """
    KEYS_SHARED = "KeysShared"
    """One key is in two departments' Secrets; it opens neither.

    False on AdapterDeployment Ready, KeysLoaded.
    Next: give each department keys of its own.
    """
    NAME_TAKEN = "NameTaken"
    """An object that is not the deployment's has a name that it needs; the message names it. It is left alone.

    Unknown on AdapterDeployment Ready, PodsStarted, AdaptersProved, RoutesApplied, KeysLoaded.
    False on AdapterDeployment Ready, AdaptersProved.
    Next: delete or rename the other object, or create the AdapterDeployment under another name.
    """
    API_REFUSED = "ApiRefused"
    """The API refused an object that the operator makes from the spec; the message is the apiserver's.

    Unknown on BaseModel Ready; FineTuneJob Succeeded; AdapterDeployment Ready, PodsStarted.
    Next: mend the field, quota or policy that the message names; the operator tries again.
    """
    RETRYING = "Retrying"
    """The last attempt was lost to the infrastructure; another one is being made.

    Unknown on BaseModel Ready; FineTuneJob Succeeded, DatasetChecked, Trained, Published.
    Next: wait; the message says what took the last attempt and when the next begins.
    """


class Done(StrEnum):
    """A step or a resource is as it should be."""

    INSPECTED = "Inspected"
    """The model's files were read; the status holds their digest and shape.

    True on BaseModel Ready.
    """
    CHECKED = "Checked"
    """The dataset can be trained on; status.dataset holds its numbers, and warnings where it will disappoint.

    True on FineTuneJob DatasetChecked.
    """
    TRAINED = "Trained"
    """Training came to its end.

    True on FineTuneJob Trained.
    """
    PUBLISHED = "Published"
    """The Adapter exists, and its files are in the store.

    True on FineTuneJob Published.
    """
    SUCCEEDED = "Succeeded"
    """The run has made its Adapter, which status.adapter names.

    True on FineTuneJob Succeeded.
    """
    PROVED = "Proved"
    """Every replica that is ready has proved the version that it answers with.

    True on AdapterDeployment AdaptersProved.
    """
    APPLIED = "Applied"
    """All routers report the newest routes.

    True on AdapterDeployment RoutesApplied.
    """
    KEYS_LOADED = "KeysLoaded"
    """All routers have a key for every department.

    True on AdapterDeployment KeysLoaded.
    """
    STARTED = "Started"
    """Nothing keeps a pod from starting.

    True on AdapterDeployment PodsStarted.
    """
    NOT_REQUIRED = "NotRequired"
    """spec.authentication is None: whoever reaches the Service is answered.

    True on AdapterDeployment KeysLoaded.
    """
    SERVING = "Serving"
    """Every department is answered as its spec says.

    True on AdapterDeployment Ready.
    """
    ACCEPTED = "Accepted"
    """The Adapter's base exists under the digest that the Adapter names.

    True on Adapter Ready.
    """


class Refused(StrEnum):
    """It cannot go on as it is."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    """Too many attempts were lost to the infrastructure.

    False on BaseModel Ready; FineTuneJob Succeeded, DatasetChecked, Trained, Published.
    Next: mend what took them, as the message and the nodes' events say; then delete the object and create it again.
    """
    BASE_MODEL_CHANGED = "BaseModelDigestDiffers"
    """The Adapter, or what a deployment serves, belongs to a base of another digest than the BaseModel now has.

    False on Adapter Ready; AdapterDeployment Ready, AdaptersProved.
    Next: serve it on a BaseModel of its own digest, or train the line again on this one.
    """
