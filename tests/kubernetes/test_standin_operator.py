"""The tests' stand-in makes what the Flux Operator makes: with FLUXOP_TEST_OPERATOR=real these hold of the real one."""

from __future__ import annotations

from conftest import REAL_OPERATOR
from namespaces import Namespace, eventually

SOCKET = "/mnt/flux/config/run/flux/local"
SHUTDOWN = f"until FLUX_URI=local://{SOCKET} flux shutdown --background; do sleep 0.3; done"
STOP = SHUTDOWN if REAL_OPERATOR else "kill -USR1 1"


async def running(namespace: Namespace, name: str, size: int) -> None:
    pods = [await namespace.pod(name, i) for i in range(size)]
    assert all(p is not None and p.status.phase == "Running" for p in pods), [p and p.status.phase for p in pods]
    assert await namespace.pod(name, size) is None


async def test_a_minicluster_is_an_indexed_job_with_a_service_and_a_config_map(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=2)
    await eventually(lambda: running(namespace, "one", 2))
    job = await namespace.batch.read_namespaced_job("one", namespace.name)
    service = await namespace.core.read_namespaced_service("one", namespace.name)
    await namespace.core.read_namespaced_config_map("one-entrypoint", namespace.name)
    lead = await namespace.pod("one", 0)
    assert (job.spec.completion_mode, job.spec.completions, job.spec.parallelism) == ("Indexed", 2, 2)
    assert job.metadata.owner_references[0].kind == "MiniCluster"
    assert (service.spec.cluster_ip, service.spec.selector) == ("None", {"job-name": "one"})
    assert lead.spec.subdomain == "one"
    assert [c.name for c in lead.spec.containers] == ["one"]
    expected = {
        "app.kubernetes.io/name": "one",
        "app": "flux-operator",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    assert expected.items() <= lead.metadata.labels.items()

    async def labelled() -> None:
        assert [(await namespace.pod("one", i)).metadata.labels.get("job-index") for i in (0, 1)] == ["0", "1"]

    await eventually(labelled)
    await namespace.wipe()


async def test_it_says_ready_before_any_pod_runs_and_selects_pods_for_scaling(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=1, pod={"nodeSelector": {"no": "such-node"}})

    async def ready() -> None:
        status = (await namespace.miniclusters())[0].get("status", {})
        conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
        assert conditions.get("JobMiniClusterReady") == "True"
        assert status["selector"] == "hpa-selector=one"

    async def pending() -> None:
        pod = await namespace.pod("one", 0)
        assert pod is not None
        assert pod.status.phase == "Pending"

    await eventually(ready)
    await eventually(pending)
    await namespace.wipe()


async def test_its_size_follows_the_specification_up_to_its_largest_one(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=1, maxSize=2)
    await eventually(lambda: running(namespace, "one", 1))
    await namespace.patch_minicluster("one", size=2)
    await eventually(lambda: running(namespace, "one", 2))
    await namespace.patch_minicluster("one", size=3)  # is ignored
    await namespace.patch_minicluster("one", size=1)
    await eventually(lambda: running(namespace, "one", 1))
    await namespace.wipe()


async def test_without_a_largest_size_it_keeps_its_first_one(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=1)
    await eventually(lambda: running(namespace, "one", 1))
    await namespace.patch_minicluster("one", size=2)

    async def put_back() -> None:
        assert (await namespace.miniclusters())[0]["spec"]["size"] == 1

    await eventually(put_back)
    await namespace.wipe()


async def test_with_cleanup_everything_goes_when_the_lead_broker_ends(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=2, cleanup=True)
    await eventually(lambda: running(namespace, "one", 2))
    lead = await namespace.pod("one", 0)
    await namespace.run_in(lead.metadata.name, STOP)
    await eventually(namespace.is_empty)


async def test_its_deadline_ends_its_pods(namespace: Namespace) -> None:
    await namespace.minicluster("one", size=1, deadlineSeconds=1)

    async def failed() -> None:
        jobs = (await namespace.batch.list_namespaced_job(namespace.name)).items
        conditions = [c for job in jobs for c in job.status.conditions or []]
        assert "DeadlineExceeded" in [c.reason for c in conditions]

    await eventually(failed)
    await namespace.wipe()
