"""The apiserver's audit log: who did what, and what he was refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:wardrobe"]
  - level: None
"""

Permission = tuple[str, str, str]
"""API group, resource with its subresource, verb: as in a rule of a role."""


@dataclass(frozen=True)
class Audit:
    """The log of one apiserver."""

    folder: Path

    def options(self) -> tuple[str, ...]:
        """What the apiserver is started with."""
        policy = self.folder / "policy.yaml"
        policy.write_text(POLICY)
        return (f"--audit-policy-file={policy}", f"--audit-log-path={self._log}")

    def clear(self) -> None:
        """Forget what was done; the apiserver appends."""
        if self._log.exists():
            self._log.write_bytes(b"")

    def entries(self, user: str) -> list[dict[str, Any]]:
        """What a user asked for, with the answers' codes."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if line["user"]["username"] == user]

    def used(self, user: str) -> set[Permission]:
        """What a user needed for what he was granted. Server-side apply that created an object needed `create` too."""
        found: set[Permission] = set()
        for entry in self.entries(user):
            if "objectRef" not in entry or entry["responseStatus"]["code"] == 403:
                continue
            verbs = {entry["verb"]} | ({"create"} if entry["responseStatus"]["code"] == 201 else set())
            found |= {(*_resource(entry["objectRef"]), verb) for verb in verbs}
        return found

    def refused(self, user: str) -> list[str]:
        """What a user was refused, in words."""
        return [
            f"{entry['verb']} {entry['requestURI']}: {entry['responseStatus'].get('message')}"
            for entry in self.entries(user)
            if entry["responseStatus"]["code"] == 403
        ]

    @property
    def _log(self) -> Path:
        return self.folder / "audit.log"


def _resource(reference: dict[str, str]) -> tuple[str, str]:
    subresource = reference.get("subresource")
    resource = reference["resource"]
    return reference.get("apiGroup", ""), f"{resource}/{subresource}" if subresource else resource


def granted(role: dict[str, Any]) -> set[Permission]:
    """What a role's rules say one by one."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
