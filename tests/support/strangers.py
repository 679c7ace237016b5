"""Who may do everything in a namespace but be the operator, and a pod such as they would make."""

STRANGER = ("--as=stranger", "--as-group=system:masters")
POD = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
    "restartPolicy": "Never",
    "containers": [
        {
            "name": "trainer",
            "image": "none",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
