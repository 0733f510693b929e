"""The way into Kubernetes: a context of a kubeconfig, or the pod that we run in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from streamflow_fluxop.bounded import load_yaml, read_text
from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_LISTS = ("clusters", "contexts", "users")

Entries = dict[str, Mapping[str, Any]]


async def load(config: KubernetesConfig, into: Configuration) -> str | None:
    """Fill in address and credentials.

    Args:
        config: names kubeconfig and context, or the pod that we run in.
        into: what is filled in.

    Returns:
        The namespace that comes with them; None: none does.

    Raises:
        KubernetesError: there is no usable way into Kubernetes: which file, what is wrong with it, what it has.
    """
    if config.in_cluster or (not config.kubeconfig and _only_in_cluster()):
        return await _in_cluster(into)
    files = _files(config.kubeconfig)
    name, context = await asyncio.to_thread(_context, files, config.context)
    where = f"the kubeconfig {os.pathsep.join(files)}"
    try:
        await load_kube_config(os.pathsep.join(files), name, into, persist_config=False)
    except (ConfigException, OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).removeprefix("Invalid kube-config file. ").split())
        raise KubernetesError(f"{where} is no way into Kubernetes by its context {name}: {said}") from error
    namespace = context.get("namespace")
    return str(namespace) if namespace else None


async def _in_cluster(into: Configuration) -> str:
    try:
        load_incluster_config(client_configuration=into)  # type: ignore[no-untyped-call]
        return await asyncio.to_thread(_own_namespace)
    except (ConfigException, OSError) as error:
        raise KubernetesError(f"no way into Kubernetes by the pod's service account: {error}") from error


def _own_namespace() -> str:
    with open(f"{_SERVICE_ACCOUNT}/namespace", encoding="utf-8") as file:
        return file.read().strip()


def _only_in_cluster() -> bool:
    """Whether we run in a pod, and no kubeconfig is in sight."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and not any(map(os.path.exists, _files(None)))


def _files(named: str | None) -> list[str]:
    """The files that are read: the one that the configuration names, else KUBECONFIG's, else the usual one."""
    if named:
        return [os.path.expanduser(named)]
    listed = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    return [os.path.expanduser(file) for file in listed if file] or [os.path.expanduser("~/.kube/config")]


def _context(files: list[str], wanted: str | None) -> tuple[str, Mapping[str, Any]]:
    """The context that is wanted, or the current one; of what several files name alike, the first one counts.

    Raises:
        KubernetesError: there is none.
    """
    there = [file for file in files if os.path.exists(file)]
    if not there:
        raise KubernetesError(
            f"no way into Kubernetes: there is no {' and no '.join(files)}; "
            "KUBECONFIG, or `kubeconfig` in the fleet's configuration, names the file"
        )
    clusters, contexts, users = ({} for _ in _LISTS)  # type: tuple[Entries, Entries, Entries]
    current: str | None = None
    for file in there:
        document = _read(file)
        current = current or document.get("current-context")
        for kind, found in zip(_LISTS, (clusters, contexts, users), strict=True):
            found.update({k: v for k, v in _entries(file, kind, document.get(kind)).items() if k not in found})
    where = f"the kubeconfig {os.pathsep.join(there)}"
    name = wanted or current
    if not name:
        raise KubernetesError(f"{where} has no current context; `context` may name one: {_names(contexts)}")
    if name not in contexts:
        raise KubernetesError(f"{where} has no context {name}; {'it has ' if contexts else ''}{_names(contexts)}")
    context = contexts[name].get("context")
    if not isinstance(context, Mapping):
        raise KubernetesError(f"{where}: its context {name} is empty")
    for kind, all_of_them in (("cluster", clusters), ("user", users)):
        needed = context.get(kind)
        if needed not in all_of_them and (needed or kind == "cluster"):
            raise KubernetesError(
                f"{where}: its context {name} wants the {kind} {needed}; "
                f"{'it has ' if all_of_them else ''}{_names(all_of_them)}"
            )
    cluster = clusters[str(context["cluster"])].get("cluster")
    if not isinstance(cluster, Mapping) or not cluster.get("server"):
        raise KubernetesError(f"{where}: its cluster {context['cluster']} has no server")
    return name, context


def _read(file: str) -> Mapping[str, Any]:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document = load_yaml(read_text(file))
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        said = error.problem if isinstance(error, MarkedYAMLError) else str(error)
        line = f":{mark.line + 1}" if mark else ""
        raise KubernetesError(f"the kubeconfig {file}{line} is no valid YAML: {said}") from None
    except UserError as error:
        raise KubernetesError(f"the kubeconfig {file} {error.what}") from None
    if not isinstance(document, Mapping):
        raise KubernetesError(f"the kubeconfig {file} is none: it has no clusters, contexts and users")
    return document


def _entries(file: str, kind: str, listed: Any) -> Entries:
    entries = listed or []
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and e.get("name") for e in entries):
        raise KubernetesError(f"the kubeconfig {file} is none: its {kind} are no list of entries with a name")
    return {str(entry["name"]): entry for entry in entries}


def _names(entries: Entries) -> str:
    return ", ".join(sorted(entries)) or "there is none in it"
