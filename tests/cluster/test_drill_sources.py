"""A dataset outside the cluster, fetched by a real pod with a real Secret."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes import client
from support import resources, s3_server
from support.cluster import Namespace, node_address
from support.operator_process import Operator
from support.s3_server import BUCKET, KEY, KNOWN

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
EVERYWHERE = "0.0.0.0"  # noqa: S104  pods reach it by the node's address
TWO_OF_THE_USERS = """\
{"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}
{"messages": [{"role": "user", "content": "Why?"}, {"role": "user", "content": "Please."}]}
"""


def test_the_check_waits_for_the_secret_and_then_reads_what_is_in_the_bucket(
    prepare: Prepare, operate: Operate, tmp_path: Path
) -> None:
    namespace, rows = prepare(), tmp_path / "rows.jsonl"
    rows.write_text(TWO_OF_THE_USERS)
    namespace.apply(resources.base_model())
    with s3_server.serving(tmp_path, EVERYWHERE) as bucket, operate(namespace):
        bucket.put(rows)
        endpoint = f"http://{node_address(namespace)}:{bucket.port}"
        dataset = {"source": f"s3://{BUCKET}/{KEY}", "endpoint": endpoint, "credentials": {"secretName": "reader"}}
        namespace.apply(resources.run("heart", dataset=dataset))
        waiting = namespace.await_condition("FineTuneJob", "heart", "Succeeded", "Unknown", reason="PodStuck")
        assert 'secret "reader" not found' in waiting["message"]
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name="reader"), string_data=KNOWN)
        client.CoreV1Api(namespace.api).create_namespaced_secret(namespace.name, secret)
        refused = namespace.await_condition("FineTuneJob", "heart", "Succeeded", "False")
    assert refused["reason"] == "RolesInvalid", refused
    assert "row 2" in refused["message"]
