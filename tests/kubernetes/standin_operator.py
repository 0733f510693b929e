"""A stand-in for the Flux Operator, for tests only: `python standin_operator.py PREFIX`, with a KUBECONFIG.

It reconciles the MiniClusters of all namespaces whose names begin with PREFIX, so that several can share a Kubernetes.
What it makes is in `standin_objects`. Where the Flux Operator has quirks that its users meet, this one has them too:

- the condition JobMiniClusterReady is true when the Job exists, whatever its pods do;
- reconciling a MiniCluster labels all pods of the namespace that have no `job-index` yet, those of others wrongly;
- a headless service that is there already is not made again, whosever it is;
- a size above `maxSize` is ignored, and so is the MiniCluster then; without a `maxSize`, its size is put back.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

import aiohttp
import standin_objects as objects
from kubernetes_asyncio import client, config
from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.watch import Watch
from standin_objects import GROUP, PLURAL, VERSION, Object

Key = tuple[str, str]

WATCH_SECONDS = 300
SLOWEST_RETRY = 5.0  # seconds


class Operator:
    def __init__(self, api: client.ApiClient, prefix: str) -> None:
        self._prefix = prefix
        self._miniclusters = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._batch = client.BatchV1Api(api)
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: dict[Key, asyncio.Lock] = {}
        self._failures: dict[Key, int] = {}

    async def run(self) -> None:
        miniclusters = (self._miniclusters.list_cluster_custom_object, (GROUP, VERSION, PLURAL))
        jobs: tuple[Any, tuple[str, ...]] = (self._batch.list_job_for_all_namespaces, ())
        watches = [self._watch(function, arguments) for function, arguments in (miniclusters, jobs)]
        await asyncio.gather(*watches, *(self._work() for _ in range(8)))

    def _queue(self, key: Key) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._waiting.put_nowait(key)

    async def _watch(self, function: Callable[..., Awaitable[Any]], arguments: tuple[str, ...]) -> None:
        """A MiniCluster and its Job have one name, so that either's event names what to reconcile."""
        while True:
            try:
                # begins with everything that is there; without a resourceVersion the API server wants its cache to be
                # as new as etcd, and may answer for half a minute after its start that it is not
                options = {"resource_version": "0", "timeout_seconds": WATCH_SECONDS}
                async with Watch().stream(function, *arguments, **options) as events:
                    async for event in events:
                        metadata = event["raw_object"]["metadata"]
                        if metadata.get("namespace", "").startswith(self._prefix):
                            self._queue((metadata["namespace"], metadata["name"]))
            except (ApiException, OSError, asyncio.TimeoutError, aiohttp.ClientError) as error:
                print("watch:", error, flush=True)
                await asyncio.sleep(1)

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            self._queued.discard(key)
            async with self._busy.setdefault(key, asyncio.Lock()):
                try:
                    await self._reconcile(*key)
                    self._failures.pop(key, None)
                except (ApiException, OSError, asyncio.TimeoutError, aiohttp.ClientError) as error:
                    failures = self._failures[key] = self._failures.get(key, 0) + 1
                    conflict = isinstance(error, ApiException) and error.status in (404, 409)
                    if not conflict:
                        print(f"{key[0]}/{key[1]}: {str(error)[:300]}", flush=True)
                    delay = min(SLOWEST_RETRY, 0.05 * 2**failures)
                    asyncio.get_running_loop().call_later(delay, self._queue, key)

    async def _reconcile(self, namespace: str, name: str) -> None:
        cluster = await _or_none(
            self._miniclusters.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        )
        if cluster is None or cluster["metadata"].get("deletionTimestamp") or objects.invalid(cluster["spec"]):
            return
        core = self._core
        if await _or_none(core.read_namespaced_config_map(f"{name}-entrypoint", namespace)) is None:
            await core.create_namespaced_config_map(namespace, objects.config_map(cluster))
        if await _or_none(core.read_namespaced_service(objects.headless_name(cluster), namespace)) is None:
            await core.create_namespaced_service(namespace, objects.service(cluster))
        job = await _or_none(self._batch.read_namespaced_job(name, namespace))
        if job is None:
            job = await self._batch.create_namespaced_job(namespace, objects.job(cluster))
        status = _status(cluster)
        if job.spec.parallelism != cluster["spec"]["size"]:
            await self._resize(cluster, status, job.spec.parallelism)
        await self._label_pods(namespace, name)
        if status != cluster.get("status"):
            patch = self._miniclusters.patch_namespaced_custom_object_status
            await patch(GROUP, VERSION, namespace, PLURAL, name, {"status": status}, **_MERGE)
        if cluster["spec"].get("cleanup") and await self._lead_pod_is_over(namespace, name):
            await self._miniclusters.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)

    async def _resize(self, cluster: Object, status: Object, now: int) -> None:
        namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
        wanted = cluster["spec"]["size"]
        allowed = now if wanted < 1 else min(wanted, status["maximumSize"])
        status["size"] = allowed
        if allowed != wanted:
            patch = self._miniclusters.patch_namespaced_custom_object
            await patch(GROUP, VERSION, namespace, PLURAL, name, {"spec": {"size": allowed}}, **_MERGE)
        else:
            sizes = {"spec": {"parallelism": allowed, "completions": allowed}}
            await self._batch.patch_namespaced_job(name, namespace, sizes, **_MERGE)

    async def _label_pods(self, namespace: str, name: str) -> None:
        pods = await self._core.list_namespaced_pod(namespace, label_selector="!job-index")
        for pod in pods.items:
            index = pod.metadata.name.replace(f"{name}-", "", 1).split("-", 1)[0]
            labels = {"metadata": {"labels": {"job-index": index}}}
            await self._core.patch_namespaced_pod(pod.metadata.name, namespace, labels, **_MERGE)

    async def _lead_pod_is_over(self, namespace: str, name: str) -> bool:
        pods = await self._core.list_namespaced_pod(namespace, label_selector=f"app.kubernetes.io/name={name}")
        return any(
            p.metadata.name.startswith(f"{name}-0") and p.status.phase in ("Succeeded", "Failed") for p in pods.items
        )


_MERGE = {"_content_type": "application/merge-patch+json"}


def _status(cluster: Object) -> Object:
    status = dict(cluster.get("status") or {"jobid": "", "size": 0})
    status.setdefault("maximumSize", objects.max_size(cluster["spec"]))
    status["selector"] = f"hpa-selector={cluster['metadata']['name']}"
    ready = [c["type"] for c in status.get("conditions", []) if c["status"] == "True"]
    if ready != ["JobMiniClusterReady"]:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        status["conditions"] = [
            {
                "type": c,
                "reason": c,
                "message": c,
                "lastTransitionTime": now,
                "status": "True" if c == "JobMiniClusterReady" else "False",
            }
            for c in objects.CONDITIONS
        ]
    return status


async def _or_none(reading: Awaitable[Any]) -> Any:
    try:
        return await reading
    except ApiException as error:
        if error.status == 404:
            return None
        raise


async def main(prefix: str) -> None:
    await config.load_kube_config()
    async with client.ApiClient() as api:
        running = asyncio.create_task(Operator(api, prefix).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        print("ready", flush=True)
        try:
            await running
        except asyncio.CancelledError:
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
