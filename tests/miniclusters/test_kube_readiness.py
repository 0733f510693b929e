"""What a MiniCluster that comes up waits for, and what it waits for in vain."""

import pytest

from streamflow_fluxop.miniclusters.kubernetes.readiness import Attachable, Never, Waiting, end_of, judge, owned

NAME = "cpu-1a2b3c"


def pod(rank=0, phase="Running", *, conditions=(), made="2026-01-01T00:00:00Z", suffix="aaaaa", init=None, **main):
    state = {"name": NAME, "image": "app:1", "state": {"running": {}}, **main}
    status = {"phase": phase, "containerStatuses": [state], "conditions": list(conditions)}
    if init is not None:
        status["initContainerStatuses"] = [{"name": "flux-view", "image": "view:1", "state": init}]
    metadata = {"name": f"{NAME}-{rank}-{suffix}", "creationTimestamp": made, "labels": {}}
    return {"metadata": metadata, "spec": {"nodeName": "n", "containers": [{"name": NAME}]}, "status": status}


def stuck(reason, message="", **more):
    return pod(phase="Pending", state={"waiting": {"reason": reason, "message": message}}, **more)


def warning(message, reason="FailedCreate", kind="Job", name=NAME, at="2026-01-01T00:00:00Z"):
    thing = {"kind": kind, "name": name}
    return {"involvedObject": thing, "reason": reason, "message": message, "lastTimestamp": at, "metadata": {}}


def unschedulable(message):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(phase="Pending", conditions=[condition], state={"waiting": {}})


def test_it_can_be_attached_to_when_all_its_pods_run():
    assert judge(NAME, 2, [pod(1), pod(0)], []) == Attachable(f"{NAME}-0-aaaaa", NAME)


@pytest.mark.parametrize(
    ("pods", "warnings", "reason"),
    [
        ([], [], "the Flux Operator has not made its job"),
        ([pod(0)], [], "1 of 2 pods run; 1 not made yet"),
        ([unschedulable("0/2 nodes are available: 2 Insufficient cpu.")], [], "unschedulable: 0/2 nodes are available"),
        ([stuck("ErrImagePull", "dial tcp: i/o timeout")], [], "image app:1 cannot be pulled: dial tcp: i/o timeout"),
        ([pod(1), stuck("PodInitializing", init={"running": {}})], [], "the container flux-view prepares Flux"),
        (
            [stuck("ContainerCreating")],
            [warning("timed out waiting", "FailedMount", "Pod", f"{NAME}-0-aaaaa")],
            "timed out waiting",
        ),
        (
            [],
            [warning('pods "x" is forbidden: exceeded quota: q, requested: cpu=4, used: cpu=6, limited: cpu=8')],
            "exceeded quota: q",
        ),
    ],
)
def test_what_can_heal_is_waited_for(pods, warnings, reason):
    verdict = judge(NAME, 2, pods, warnings)
    assert isinstance(verdict, Waiting)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("pods", "warnings", "reason"),
    [
        ([stuck("ErrImagePull", "app:1: not found")], [], "image app:1 cannot be pulled: app:1: not found"),
        ([stuck("InvalidImageName", "bad")], [], "InvalidImageName: bad"),
        ([stuck("PodInitializing", init={"waiting": {"reason": "ErrImageNeverPull", "message": "x"}})], [], "view:1"),
        ([stuck("CreateContainerConfigError", 'secret "s" not found')], [], 'secret "s" not found'),
        ([unschedulable('persistentvolumeclaim "work" not found')], [], 'persistentvolumeclaim "work" not found'),
        ([], [warning('pods "x" is forbidden: violates PodSecurity "restricted:latest"')], "violates PodSecurity"),
        ([], [warning('admission webhook "w" denied the request: no')], "denied the request"),
        (
            [],
            [
                warning(
                    '"x" is forbidden: exceeded quota: q, requested: memory=8Gi, used: memory=0, limited: memory=4Gi'
                )
            ],
            "asks for memory=8Gi, but the quota q of the namespace is memory=4Gi in all",
        ),
    ],
)
def test_what_cannot_heal_is_not_waited_for(pods, warnings, reason):
    verdict = judge(NAME, 2, pods, warnings)
    assert isinstance(verdict, Never)
    assert reason in verdict.reason


def test_a_container_that_crashes_again_and_again_tells_its_exit_code_and_where_its_log_is():
    crashed = stuck("CrashLoopBackOff", lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    verdict = judge(NAME, 1, [crashed], [])
    assert isinstance(verdict, Never)
    assert "ends again and again: exit code 137, OOMKilled" in verdict.reason
    assert verdict.log == (f"{NAME}-0-aaaaa", NAME)


def test_a_lead_broker_that_ends_while_it_comes_up_is_the_end():
    ended = pod(phase="Succeeded", state={"terminated": {"exitCode": 0}})
    verdict = judge(NAME, 1, [ended], [])
    assert isinstance(verdict, Never)
    assert verdict.log == (f"{NAME}-0-aaaaa", NAME)


def test_a_pod_that_replaces_another_counts_in_its_place():
    old = pod(1, phase="Failed", suffix="old")
    new = pod(1, made="2026-01-01T00:01:00Z", suffix="new")
    assert isinstance(judge(NAME, 2, [pod(0), new, old], []), Attachable)


def test_pods_that_run_no_broker_do_not_count():
    service = pod(suffix="x")
    service["metadata"]["name"] = f"{NAME}-services"
    assert isinstance(judge(NAME, 1, [service], []), Waiting)


@pytest.mark.parametrize(
    ("lead", "reason"),
    [
        (None, "was deleted"),
        (pod(phase="Failed", state={"terminated": {"exitCode": 1}}), "has ended (exit code 1)"),
        (pod(restartCount=1, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "137, OOMKilled"),
    ],
)
def test_the_end_of_a_lead_broker_is_told(lead, reason):
    assert reason in end_of(NAME, lead)
    assert end_of(NAME, pod()) is None


def test_a_pod_is_the_minicluster_s_if_its_job_owns_it_whatever_its_labels_say():
    def owner(uid="1", name=NAME, kind="Job", controller=True):
        return {**pod(), "metadata": {**pod()["metadata"], "ownerReferences": [
            {"kind": kind, "name": name, "uid": uid, "controller": controller}]}}  # fmt: skip

    ours = owner()
    others = [pod(), owner(name="other"), owner(kind="ReplicaSet"), owner(controller=False)]
    assert owned(NAME, [ours, *others]) == [ours]
    assert owned(NAME, [ours, owner(uid="2")], "1") == [ours]
