"""The apiserver by plain HTTP: a hundred refusals in seconds, where a hundred kubectls would take a minute."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from devcluster.controlplane import ControlPlane

Manifest = dict[str, Any]

PLURALS = {
    "BaseModel": "basemodels",
    "FineTuneJob": "finetunejobs",
    "Adapter": "adapters",
    "AdapterDeployment": "adapterdeployments",
    "Secret": "secrets",
}
STRICT = "fieldValidation=Strict"


class RefusedError(Exception):
    """The apiserver's answer to what it did not take."""


class Api:
    """Wardrobe's kinds in one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        context = ssl.create_default_context(cafile=str(plane.instance.pki / "ca.crt"))
        context.load_cert_chain(plane.instance.pki / "admin.crt", plane.instance.pki / "admin.key")
        self._connection = http.client.HTTPSConnection("127.0.0.1", plane.port, timeout=20, context=context)
        self.plane = plane
        self.namespace = namespace

    def create(self, manifest: Manifest) -> Manifest:
        """Create it for good."""
        return self._send("POST", manifest, STRICT)

    def try_create(self, manifest: Manifest) -> Manifest:
        """What would be stored."""
        return self._send("POST", manifest, f"{STRICT}&dryRun=All")

    def replace(self, manifest: Manifest) -> Manifest:
        """Replace it as it is now."""
        name = manifest["metadata"]["name"]
        return self._send("PUT", self._current(manifest), STRICT, f"/{name}")

    def write_status(self, manifest: Manifest) -> Manifest:
        """Replace its status as the operator would."""
        return self._send("PUT", self._current(manifest), STRICT, f"/{manifest['metadata']['name']}/status")

    def delete(self, manifest: Manifest) -> None:
        """Remove it."""
        self._send("DELETE", {**manifest, "spec": None}, "", f"/{manifest['metadata']['name']}", body=False)

    def kubectl(self, *arguments: str) -> str:
        """Output of kubectl in this namespace."""
        return self.plane.run(f"--namespace={self.namespace}", *arguments)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _current(self, manifest: Manifest) -> Manifest:
        stored = self._send("GET", manifest, "", f"/{manifest['metadata']['name']}", body=False)
        return {**manifest, "metadata": stored["metadata"]}

    def _send(self, verb: str, manifest: Manifest, query: str, suffix: str = "", *, body: bool = True) -> Manifest:
        version = manifest["apiVersion"]
        group = f"apis/{version}" if "/" in version else f"api/{version}"
        path = f"/{group}/namespaces/{self.namespace}/{PLURALS[manifest['kind']]}{suffix}?{query}"
        content = json.dumps(manifest) if body else None
        self._connection.request(verb, path, content, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer: Manifest = json.loads(response.read())
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise RefusedError(answer["message"])
        return answer


@pytest.fixture(scope="session")
def refused() -> type[RefusedError]:
    """The error that a refusal raises."""
    return RefusedError


@pytest.fixture(scope="session")
def make_api(control_plane: ControlPlane) -> Iterator[Callable[[], Api]]:
    """Makes an empty namespace and its client."""
    numbers, opened = count(1), []

    def make() -> Api:
        namespace = f"api-{next(numbers)}"
        control_plane.run("create", "namespace", namespace)
        opened.append(Api(control_plane, namespace))
        return opened[-1]

    yield make
    for api in opened:
        api.close()


@pytest.fixture(scope="module")
def shared_api(make_api: Callable[[], Api]) -> Api:
    """A namespace for dry runs, and for objects that a test takes away again.

    The apiserver ends a connection that is idle for 90 s, as one is while a worker runs another long file.
    """
    return make_api()


@pytest.fixture
def api(make_api: Callable[[], Api]) -> Api:
    """A namespace of the test's own."""
    return make_api()
