"""Kubernetes Events: one where a resource's top condition changes to an end, or to what holds it up."""

import hashlib

from wardrobe.api.meta import API_VERSION, Key, Manifest, Metadata, Status
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe_contracts.text import shorten

SOURCE = "wardrobe-operator"
NOTE_LIMIT = 1000
AS_IT_SHOULD = frozenset({Waiting.RUNNING, Waiting.CHECKING, Waiting.TRAINING, Waiting.ASSESSING})
"""Work goes on: the status says so, and the Jobs' own Events."""
FROM_THE_BEGINNING = frozenset({Done.ACCEPTED})
"""An Adapter that fits from the beginning is as everybody expects it: the status says so."""


def transition(
    kind: str, owner: Metadata, before: Status, after: Status, now: str, *, told: str = ""
) -> Manifest | None:
    """The Event to post, if the top condition's status or reason changed. Its name makes posting idempotent.

    `told` follows the message, at most half of the Event.
    """
    new = after.condition(ConditionType.SUCCEEDED) or after.condition(ConditionType.READY)
    if new is None:
        return None
    old = before.condition(new.type)
    if new.reason in AS_IT_SHOULD or (old is None and new.reason in FROM_THE_BEGINNING):
        return None
    if old and (old.status, old.reason) == (new.status, new.reason):
        return None
    key = Key(kind, owner.namespace, owner.name)
    mark = hashlib.sha256(f"{owner.uid}{owner.resource_version}{new.reason}".encode()).hexdigest()[:12]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{owner.name}.{mark}", "namespace": owner.namespace},
        "involvedObject": _reference(key, owner),
        "type": "Warning" if new.status == "False" else "Normal",
        "reason": new.reason,
        "message": _note(new.message, told),
        "source": {"component": SOURCE},
        "reportingComponent": SOURCE,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _note(message: str, told: str) -> str:
    if not told:
        return message[:NOTE_LIMIT]
    told = told[: NOTE_LIMIT // 2]
    return f"{shorten(message, NOTE_LIMIT - len(told) - 1)}\n{told}"


def _reference(key: Key, owner: Metadata) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": key.kind,
        "name": key.name,
        "namespace": key.namespace,
        "uid": owner.uid,
        "resourceVersion": owner.resource_version,
    }
