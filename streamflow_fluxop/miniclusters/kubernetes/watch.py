"""One watch for all MiniClusters of a fleet: of their pods, and of what Kubernetes warns of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.watch import Watch

from streamflow_fluxop.miniclusters.kubernetes.api import CONNECTION_ERRORS, Api
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError
from streamflow_fluxop.miniclusters.kubernetes.resource import MINICLUSTER, RUN

logger = logging.getLogger(__name__)

Object = dict[str, Any]

_SERVER_TIMEOUT = 280  # seconds after which the server ends a watch, and we go on where it ended
_SILENCE = 90.0  # seconds: the server sends a bookmark each minute
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_EXPIRED = 410


class NamespaceWatch:
    """What is there of a run, kept up to date.

    Args:
        api: opened.
        run: id of the run, as the label `resource.RUN` has it.

    Attributes:
        on_change: is called at once whenever something has changed; by the name of who wants to know.
    """

    def __init__(self, api: Api, run: str) -> None:
        self._api = api
        self._of_run = {"label_selector": f"{RUN}={run}"}
        self._pods: dict[str, Object] = {}
        self._warnings: dict[str, Object] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._listed = asyncio.Event()
        self._failure: KubernetesError | None = None
        self.on_change: dict[str, Callable[[], None]] = {}

    async def start(self) -> None:
        """Begin, and wait for the first list of pods.

        Raises:
            KubernetesError: pods can't be watched.
        """
        if not self._tasks:
            core = self._api.core
            warnings = {"field_selector": "type=Warning"}
            self._tasks = [
                asyncio.create_task(self._follow("pods", core.list_namespaced_pod, self._pods, self._of_run)),
                asyncio.create_task(self._follow("events", core.list_namespaced_event, self._warnings, warnings)),
            ]
        await self._listed.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End; never raises."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    def pods(self, minicluster: str) -> list[Object]:
        """The pods of a MiniCluster, by the name that its label has, as JSON objects."""
        return [p for p in self._pods.values() if p["metadata"].get("labels", {}).get(MINICLUSTER) == minicluster]

    def warnings(self, names: Iterable[str]) -> list[Object]:
        """The events of type Warning of the objects of these names, as JSON objects."""
        wanted = set(names)
        return [e for e in self._warnings.values() if e["involvedObject"].get("name") in wanted]

    async def changed(self, timeout: float) -> None:
        """Wait until something has changed, at most `timeout` seconds.

        Where nothing watches any more, as asyncio cancels all tasks when Ctrl-C ends a run, it looks for itself.
        """
        if self._tasks and self._tasks[0].done():
            await asyncio.sleep(min(timeout, _FIRST_WAIT))
            try:
                await self._list("pods", self._api.core.list_namespaced_pod, self._pods, self._of_run)
            except KubernetesError as error:
                logger.debug("%s", error)
            return
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except asyncio.TimeoutError:
            return

    def _tell(self) -> None:
        for call in list(self.on_change.values()):
            call()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _follow(
        self, resource: str, function: Callable[..., Awaitable[Any]], known: dict[str, Object], selector: dict[str, Any]
    ) -> None:
        """List, then watch from there on; list again when the server has forgotten where we were."""
        wait = _FIRST_WAIT
        while True:
            try:
                version = await self._list(resource, function, known, selector)
                self._listed.set() if resource == "pods" else None
                wait = _FIRST_WAIT
                while True:
                    version = await self._watch(function, known, selector, version)
            except ApiException as error:
                if error.status in (_EXPIRED, 401):  # 401: a token has expired, and the listing gets a new one
                    logger.debug("the watch of %s has expired: listing again", resource)
                    continue
                failure = self._api.in_words("watch", resource, error)
            except KubernetesError as error:
                failure = error
            except (*CONNECTION_ERRORS, ValueError) as error:
                failure = self._api.in_words("watch", resource, error)
            if failure.status in (401, 403) and resource == "events":
                logger.warning("%s; a MiniCluster that does not come up will say less of why", failure)
                return
            if failure.status in (401, 403) and not self._listed.is_set():
                self._failure = failure
                self._listed.set()
                return
            logger.debug("%s; again in %.1f s", failure, wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _list(
        self, resource: str, function: Callable[..., Awaitable[Any]], known: dict[str, Object], selector: dict[str, Any]
    ) -> str:
        listing = await self._api.call("list", resource, function, self._api.namespace, **selector)
        plain = self._api.plain(listing)
        known.clear()
        known.update((item["metadata"]["name"], item) for item in plain.get("items", []))
        self._tell()
        version: str = plain["metadata"]["resourceVersion"]
        return version

    async def _watch(
        self, function: Callable[..., Awaitable[Any]], known: dict[str, Object], selector: dict[str, Any], version: str
    ) -> str:
        """Follow changes until the server ends the watch.

        Returns:
            Where to go on.
        """
        async with Watch(return_type="object") as watch:
            stream = watch.stream(
                function,
                self._api.namespace,
                **selector,
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=_SERVER_TIMEOUT,
                _request_timeout=aiohttp.ClientTimeout(sock_connect=20, sock_read=_SILENCE),
            )
            async for event in stream:
                item = event["raw_object"]
                version = item["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    known.pop(item["metadata"]["name"], None)
                else:
                    known[item["metadata"]["name"]] = item
                self._tell()
        return version
