"""The connection to the cluster that the operator runs in, or that KUBECONFIG names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio import client, config


@asynccontextmanager
async def connect() -> AsyncIterator[client.ApiClient]:
    """A client with the pod's service account, or the kubeconfig outside a cluster. Tokens are re-read."""
    configuration = client.Configuration()
    await config.load_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = 0  # no bound: each watch keeps one, and there are five in every namespace
    configuration.client_session_kwargs = {"trust_env": False}  # would ask for ~/.netrc in a thread, for every request
    async with client.ApiClient(configuration) as connection:
        yield connection
