"""Pods of a test's own, the smallest that are sandboxes: what `KubernetesBackend` makes is another test's concern."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from kubernetes.aio import client, config

from envfarm.k8s import boot
from envfarm.k8s.attach import AttachStream, attach
from envfarm.k8s.log import history
from envfarm.toolbox.errors import BackendUnavailable, SandboxLost
from envfarm.toolbox.sandboxes.base import SandboxSpec
from envfarm.toolbox.sandboxes.held import Defaults, HeldSandbox
from envfarm.toolbox.sandboxes.shell import Shell

NAME = "sandbox"  # of the container


class PodSandbox(HeldSandbox):
    """A sandbox over the attached main process of a pod."""

    def __init__(self, api: client.ApiClient, namespace: str, pod: str, shell: Shell) -> None:
        super().__init__(pod, SandboxSpec(image="x"), shell, Defaults(None, "/"))
        self.api = api
        self.namespace = namespace

    async def stream(self) -> AttachStream:
        return await attach(self.api, self.namespace, self.id, NAME, self.shell.feed, self.closed)

    async def history(self) -> dict[int, bytes]:
        return await history(self.api, self.namespace, self.id, NAME)

    async def cause(self) -> SandboxLost | None:
        try:
            answer = await client.CoreV1Api(self.api).read_namespaced_pod_without_preload_content(
                self.id, self.namespace
            )
            about = json.loads(await answer.read())
        except (OSError, client.ApiException) as error:
            raise BackendUnavailable(f"no API server: {error!r}") from None
        if answer.status == 404:
            return SandboxLost("the pod is gone", cause="removed")
        if about["status"]["phase"] != "Running" or "deletionTimestamp" in about["metadata"]:
            return SandboxLost(f"the pod is {about['status']['phase']}", cause="killed")
        return None

    async def detach(self) -> None:
        self.let_go()

    async def close(self) -> None:
        self.let_go()
        await client.CoreV1Api(self.api).delete_namespaced_pod(self.id, self.namespace, grace_period_seconds=0)


class Pods:
    """Makes pods in a namespace of their own, which goes with them."""

    def __init__(self, kubeconfig: str, image: str) -> None:
        self.kubeconfig = kubeconfig
        self.image = image
        self.namespace = f"attach-{uuid.uuid4().hex[:8]}"

    async def open(self) -> None:
        self.api = await self.connect()
        self.core = client.CoreV1Api(self.api)
        await self.core.create_namespace({"metadata": {"name": self.namespace}})  # type: ignore[arg-type]

    async def connect(self, host: str | None = None) -> client.ApiClient:
        """A client, of another address when that is given."""
        configuration = client.Configuration()
        await config.load_kube_config(self.kubeconfig, client_configuration=configuration, persist_config=False)
        if host is not None:
            configuration.host, configuration.tls_server_name = host, "kubernetes"
        return client.ApiClient(configuration)

    async def close(self) -> None:
        await self.core.delete_namespace(self.namespace, grace_period_seconds=0)
        await self.api.close()

    def spec(self, hello: str, runtime: str | None) -> dict[str, Any]:
        return {
            "runtimeClassName": runtime,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": NAME,
                    "image": self.image,
                    "command": boot.command(hello),
                    "stdin": True,
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
        }

    async def start(self, api: client.ApiClient | None = None, runtime: str | None = None) -> PodSandbox:
        """A pod that has greeted."""
        shell = Shell("secret")
        name = f"pod-{uuid.uuid4().hex[:8]}"
        body = {"metadata": {"name": name}, "spec": self.spec(shell.hello, runtime)}
        await self.core.create_namespaced_pod(self.namespace, body)  # type: ignore[arg-type]
        while True:
            about = json.loads(
                await (await self.core.read_namespaced_pod_without_preload_content(name, self.namespace)).read()
            )
            if about["status"]["phase"] == "Running":
                break
            assert about["status"]["phase"] == "Pending", about["status"]
            await asyncio.sleep(0.1)
        sandbox = PodSandbox(api or self.api, self.namespace, name, shell)
        shell.wire = await sandbox.stream()
        shell.wire.write(boot.program())
        await sandbox.greet()
        return sandbox
