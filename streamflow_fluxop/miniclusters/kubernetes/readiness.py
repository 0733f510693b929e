"""What a MiniCluster that comes up waits for, from its pods and the warnings about them. No I/O.

Pods and events are JSON objects as the API server sends them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streamflow_fluxop.miniclusters.kubernetes.quantities import exceeds

Object = dict[str, Any]

_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
_ANNOTATION = _INDEX_LABEL  # before Kubernetes 1.28 it is an annotation only


@dataclass(frozen=True)
class Waiting:
    """It may still come up; `reason` says what it waits for, `refused` that no node suits a pod."""

    reason: str
    refused: bool = False


@dataclass(frozen=True)
class Never:
    """It does not come up unless somebody changes something.

    Args:
        reason: why not.
        log: pod and container whose last lines say more.
        again: another try may end otherwise.
    """

    reason: str
    log: tuple[str, str] | None = None
    again: bool = False


@dataclass(frozen=True)
class Attachable:
    """All its pods run: `pod` is the lead broker's, `container` the one that runs Flux in it."""

    pod: str
    container: str


Verdict = Waiting | Never | Attachable

_CANNOT_PULL = ("InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_PULLING_FAILED = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|does not exist|denied|unauthorized|no basic auth|invalid reference format",
    re.IGNORECASE,
)
_BAD_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_REFUSED = re.compile(
    r"violates PodSecurity|denied the request|is invalid:|serviceaccount \S+ not found|"
    r"unable to validate against any|no PriorityClass|forbidden: (?!.*exceeded quota)",
    re.IGNORECASE,
)
QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (\S+), used: (\S+), limited: (\S+)")
"""What the admission of Kubernetes says: name, requested, used, and limited."""
_NEVER_MOUNTS = re.compile(r"hostPath type check failed|secret \"[^\"]+\" not found|configmap \"[^\"]+\" not found")
_NO_CLAIM = re.compile(r"persistentvolumeclaim \"[^\"]+\" not found")


def judge(name: str, size: int, pods: Iterable[Object], warnings: Iterable[Object]) -> Verdict:
    """Whether a MiniCluster can be attached to, or why not.

    Args:
        name: of the MiniCluster's object.
        size: pods that it is to have.
        pods: those that carry its label.
        warnings: events of type Warning of the object, its job and its pods, in any order.
    """
    by_index = brokers(name, pods)
    lead = by_index.get(0)
    if lead is not None and _ended(lead) and not lead["metadata"].get("deletionTimestamp"):
        # the operator deletes what has `cleanup` then: this pod, and so this moment, is all that tells why
        log = (lead["metadata"]["name"], main_container(name, lead))
        return Never(f"its lead broker ended while it came up{_pod_reason(lead)}", log, again=True)
    latest = sorted(warnings, key=_when)
    verdicts = [(pod, _judge_pod(pod, latest)) for index, pod in sorted(by_index.items()) if index < size]
    never = next((v for _, v in verdicts if isinstance(v, Never)), None)
    if never is not None:
        return never
    waiting = [(pod, v) for pod, v in verdicts if v is not None]
    missing = size - len(verdicts)
    running = len(verdicts) - len(waiting)
    if missing:
        refusal = _judge_job([e for e in latest if e["involvedObject"].get("kind") == "Job"])
        if isinstance(refusal, Never):
            return refusal
        if refusal is not None:
            return Waiting(f"{running} of {size} pods run; {refusal.reason}")
        if not verdicts:
            return Waiting("no pods yet: the Flux Operator has not made its job")
    if waiting:
        pod, verdict = waiting[0]
        refused = isinstance(verdict, Waiting) and verdict.refused
        return Waiting(f"{running} of {size} pods run; {pod['metadata']['name']}: {verdict.reason}", refused)
    if missing:
        return Waiting(f"{running} of {size} pods run; {missing} not made yet")
    pod = by_index[0]
    return Attachable(pod["metadata"]["name"], main_container(name, pod))


def owned(name: str, pods: Iterable[Object], job: str | None = None) -> list[Object]:
    """The pods that a MiniCluster's Job owns: labels anybody can give to a pod.

    Args:
        name: of the MiniCluster's object, and so of its Job.
        pods: those that carry its label.
        job: the Job's uid; None: not known.
    """

    def owns(pod: Object) -> bool:
        owners = [o for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")]
        return any(
            o.get("kind") == "Job" and o.get("name") == name and (job is None or o.get("uid") == job) for o in owners
        )

    return [pod for pod in pods if owns(pod)]


def brokers(name: str, pods: Iterable[Object]) -> dict[int, Object]:
    """The pod of each rank: the youngest that has not ended, where a job has made several."""
    ranks: dict[int, Object] = {}
    for pod in sorted(pods, key=lambda p: str(p["metadata"].get("creationTimestamp", ""))):
        rank = rank_of(name, pod)
        if rank is None:
            continue
        if rank not in ranks or not _ended(pod) or _ended(ranks[rank]):
            ranks[rank] = pod
    return ranks


def rank_of(name: str, pod: Object) -> int | None:
    """The broker rank of a pod; None for one that runs no broker, such as a service beside them."""
    metadata = pod["metadata"]
    index = metadata.get("labels", {}).get(_INDEX_LABEL) or metadata.get("annotations", {}).get(_ANNOTATION)
    if index is None and (match := re.fullmatch(rf"{re.escape(name)}-(\d+)-\w+", metadata["name"])):
        index = match[1]
    return int(index) if index is not None and index.isdigit() else None


def main_container(name: str, pod: Object) -> str:
    """The container that runs Flux: the operator gives it the MiniCluster's name."""
    names = [c["name"] for c in pod["spec"]["containers"]]
    return name if name in names else str(names[0])


def end_of(name: str, pod: Object | None) -> str | None:
    """Why a lead broker that has been attached to is no more; None while it runs.

    Args:
        name: of the MiniCluster's object.
        pod: the lead broker's, as it is now; None: it has gone.
    """
    if pod is None:
        return "the pod of its lead broker was deleted"
    if pod["metadata"].get("deletionTimestamp"):
        return f"the pod of its lead broker is being deleted{_pod_reason(pod)}"
    if _ended(pod):
        return f"the pod of its lead broker has ended{_pod_reason(pod)}"
    state = _container_states(pod).get(main_container(name, pod), {})
    if state.get("restartCount") or "terminated" in state.get("state", {}):
        last = state.get("state", {}).get("terminated") or state.get("lastState", {}).get("terminated") or {}
        return f"its lead broker has ended: {_ending(last)}"
    return None


def _judge_pod(pod: Object, warnings: Sequence[Object]) -> Waiting | Never | None:
    """What one pod waits for; None: it runs."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    if pod["metadata"].get("deletionTimestamp"):
        return Waiting("is being deleted")
    if _ended(pod):
        if status.get("reason") == "DeadlineExceeded":
            return Never("its deadline is over", again=True)
        return Waiting(f"has ended{_pod_reason(pod)}, and is to be replaced")
    for container, state in _container_states(pod).items():
        verdict = _judge_container(name, container, state)
        if verdict is not None:
            return verdict
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        message = scheduled.get("message", "not scheduled yet")
        if _NO_CLAIM.search(message):
            return Never(f"{name}: {message}")
        reason = scheduled.get("reason", "Unschedulable")
        return Waiting(f"{reason.lower()}: {message}", refused=reason == "Unschedulable")
    if status.get("phase") == "Running" and all("running" in s.get("state", {}) for s in _states(pod)):
        return None
    said = [e for e in warnings if e["involvedObject"].get("name") == name and "Mount" in e.get("reason", "")]
    if said and not any("running" in s.get("state", {}) for s in _states(pod)):
        message = said[-1].get("message", "")
        return Never(f"{name}: {message}") if _NEVER_MOUNTS.search(message) else Waiting(message)
    if not pod.get("spec", {}).get("nodeName"):
        return Waiting("not scheduled yet")
    return Waiting(_progress(pod))


def _judge_container(pod: str, container: str, state: Object) -> Waiting | Never | None:
    waiting = state.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    image = state.get("image", "")
    if reason in _CANNOT_PULL:
        return Never(f"{pod}: image {image}: {reason}: {message}")
    if reason in _PULLING_FAILED:
        if _NO_SUCH_IMAGE.search(message):
            return Never(f"{pod}: image {image} cannot be pulled: {message}")
        return Waiting(f"image {image} cannot be pulled: {message or reason}")
    if reason in _BAD_CONTAINER:
        return Never(f"{pod}: {reason}: {message}")
    last = state.get("lastState", {}).get("terminated", {})
    if reason == "CrashLoopBackOff":
        return Never(f"{pod}: container {container} ends again and again: {_ending(last)}", (pod, container))
    if reason and last:
        return Waiting(f"container {container} has ended ({_ending(last)}) and starts again")
    return None


def _judge_job(warnings: Sequence[Object]) -> Waiting | Never | None:
    """Why a job has no pods, in the words of what refuses them."""
    if not warnings:
        return None
    message = warnings[-1].get("message", "")
    if match := QUOTA.search(message):
        quota, requested, _, limited = match.groups()
        if exceeds(requested, limited):
            return Never(f"a pod asks for {requested}, but the quota {quota} of the namespace is {limited} in all")
        return Waiting(message)
    return Never(message) if _REFUSED.search(message) else Waiting(message)


def _states(pod: Object) -> list[Object]:
    states: list[Object] = pod.get("status", {}).get("containerStatuses", [])
    return states


def _container_states(pod: Object) -> dict[str, Object]:
    """Of the init containers first, as they run first."""
    status = pod.get("status", {})
    return {s["name"]: s for s in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]}


def _progress(pod: Object) -> str:
    status = pod.get("status", {})
    for state in status.get("initContainerStatuses", []):
        if "running" in state.get("state", {}):
            return f"the container {state['name']} prepares Flux"
    reasons = {s.get("state", {}).get("waiting", {}).get("reason", "") for s in _container_states(pod).values()}
    return "its containers are made" if reasons & {"ContainerCreating", "PodInitializing"} else "it starts"


def _ended(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _pod_reason(pod: Object) -> str:
    status = pod.get("status", {})
    said = [status.get("reason"), status.get("message")]
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget":
            said += [condition.get("reason"), condition.get("message")]
    for state in _states(pod):
        ended = state.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            said.append(_ending(ended))
    said = list(dict.fromkeys(filter(None, said)))
    return f" ({': '.join(said)})" if said else ""


def _ending(terminated: Object) -> str:
    words = [f"exit code {terminated['exitCode']}"] if "exitCode" in terminated else []
    if terminated.get("reason") not in (None, "Error", "Completed"):
        words.append(terminated["reason"])
    if terminated.get("message"):
        words.append(terminated["message"].strip())
    return ", ".join(words) or "nobody knows how"


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
