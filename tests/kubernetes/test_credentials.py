"""Ways to an API server that are not a token in a file: exec plugins whose tokens expire, and HTTP proxies."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path
from typing import Any

import yaml
from kubernetes_asyncio import client
from kubernetes_asyncio.client import ApiException
from namespaces import Namespace, eventually
from proxy import proxy_to, tunnel
from test_faults import fleet, job, one_up

PLUGIN = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "asked").open("a") as asked:
    asked.write("x")
status = {"token": (folder / "token").read_text()}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def changed(kubeconfig: Path, *, user: dict[str, Any] | None = None, **cluster: str) -> Path:
    """A kubeconfig with another user, or another way to the cluster."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"] |= cluster
    if user is not None:
        document["users"][0]["user"] = user
    path = kubeconfig.with_name(f"kubeconfig-{uuid.uuid4().hex}")
    path.write_text(yaml.safe_dump(document))
    return path


class Tokens:
    """Tokens of the service account that last until they are revoked, given out by an exec plugin."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self._namespace = namespace
        self.folder = folder
        self.folder.mkdir()
        (folder / "plugin.py").write_text(PLUGIN)
        self._number = 0

    async def issue(self) -> str:
        core, name = self._namespace.core, f"token-{self._number}"
        self._number += 1
        await core.create_namespaced_secret(self._namespace.name, {"metadata": {"name": name}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": name}
        spec = client.V1TokenRequestSpec(
            audiences=["https://kubernetes.default.svc"], expiration_seconds=7200, bound_object_ref=bound
        )
        request = client.AuthenticationV1TokenRequest(spec=spec)
        account = await core.create_namespaced_service_account_token("fluxop", self._namespace.name, request)
        (self.folder / "token").write_text(account.status.token)
        return name

    async def revoke(self, name: str) -> None:
        """Afterwards the API server refuses this token; it remembers for some seconds that it was good."""
        kubeconfig = changed(self._namespace.kubeconfig, user={"token": (self.folder / "token").read_text()})
        await self._namespace.core.delete_namespaced_secret(name, self._namespace.name)
        api = await self._namespace.client(kubeconfig)

        async def refused() -> None:
            try:
                await client.CoreV1Api(api).list_namespaced_pod(self._namespace.name)
            except ApiException as error:
                status = error.status
            else:
                status = 200
            assert status == 401, "the token is still good"

        try:
            await eventually(refused)
        finally:
            await api.close()

    @property
    def asked(self) -> int:
        return len((self.folder / "asked").read_text())

    @property
    def user(self) -> dict[str, Any]:
        arguments = [str(self.folder / "plugin.py"), str(self.folder)]
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": sys.executable, "args": arguments}}


async def test_a_token_of_an_exec_plugin_that_expires_is_replaced(namespace: Namespace, tmp_path: Path) -> None:
    tokens = Tokens(namespace, tmp_path / "tokens")
    first = await tokens.issue()
    settings = namespace.api.configuration
    async with proxy_to(settings.host, settings.ssl_ca_cert) as proxy:
        kubeconfig = changed(namespace.through(proxy.url), user=tokens.user)
        async with fleet(namespace, kubeconfig) as made:
            minicluster = made.minicluster()
            try:
                await asyncio.wait_for(minicluster.up(), 90)
                assert tokens.asked == 1
                running = asyncio.create_task(minicluster.client.run_job(job("sleep 3; echo done")))
                await tokens.revoke(first)
                await tokens.issue()
                proxy.cut()  # the exec stream, and the watch: both must come again, with a token that is good
                assert (await asyncio.wait_for(running, 60)).output == "done\n"
                assert (await minicluster.client.run_job(job("echo after"))).output == "after\n"
                assert tokens.asked >= 2
            finally:
                await minicluster.down()


async def test_everything_goes_through_the_proxy_that_the_kubeconfig_names(namespace: Namespace) -> None:
    async with tunnel() as proxy:
        kubeconfig = changed(namespace.kubeconfig, **{"proxy-url": proxy.url})
        async with one_up(namespace, kubeconfig) as minicluster:
            assert (await minicluster.client.run_job(job("echo through"))).output == "through\n"
    host = namespace.api.configuration.host.removeprefix("https://")
    assert set(proxy.requests) == {f"CONNECT {host} HTTP/1.1"}
    assert len(proxy.requests) >= 3  # requests, the watches, and the exec stream
