"""What a node logged of a container (a stand-in until branch attach brings its own)."""

from __future__ import annotations

from kubernetes.aio.client import ApiClient

from envfarm.k8s.client import authorization


async def history(client: ApiClient, namespace: str, pod: str, container: str) -> dict[int, bytes]:
    """Both streams."""
    found = {}
    for number, name in ((1, "Stdout"), (2, "Stderr")):
        url = f"{client.configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&stream={name}"
        answer = await client.rest_client.request("GET", url, headers=await authorization(client))
        found[number] = await answer.read() if answer.status == 200 else b""
    return found
