"""The connection to the cluster that the operator runs in, or that KUBECONFIG names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio import client, config


@asynccontextmanager
async def connect() -> AsyncIterator[client.ApiClient]:
    """A client with the pod's service account, or the kubeconfig outside a cluster. Tokens are re-read."""
    configuration = client.Configuration()
    await config.load_config(client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        yield connection
