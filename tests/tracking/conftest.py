"""One server for all tests; each has an experiment of its own."""

from collections.abc import Iterator

import pytest
from support import mlflow_server
from support.mlflow_server import Front, Mlflow


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with mlflow_server.serving(tmp_path_factory.mktemp("mlflow")) as made:
        yield made


@pytest.fixture
def front(mlflow: Mlflow) -> Iterator[Front]:
    with mlflow_server.front(mlflow.uri) as made:
        yield made


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)
