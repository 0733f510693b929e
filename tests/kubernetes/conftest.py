"""A namespace of its own for each test, on the Kubernetes that KUBECONFIG names, where nothing may be left afterwards.

    eval "$(../shared/kube/kube env)"; pytest tests/kubernetes

`FLUXOP_TEST_OPERATOR=real` says that the Flux Operator runs there, and `FLUXOP_TEST_IMAGE` names an image with Flux in
it; otherwise a stand-in for the operator is started, and the pods have Python only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient
from namespaces import Namespace

HERE = Path(__file__).parent
REAL_OPERATOR = os.environ.get("FLUXOP_TEST_OPERATOR") == "real"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("KUBECONFIG"):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no KUBECONFIG in the environment: no Kubernetes to test on"))


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def image() -> str:
    """Of the pods: `kube image python:1 python3 procps` makes the default one."""
    return os.environ.get("FLUXOP_TEST_IMAGE", "localhost/python:1")


@pytest.fixture(scope="session")
def prefix() -> Iterator[str]:
    """What the names of this session's namespaces begin with; an operator looks after them."""
    prefix = f"fluxop-{'real' if REAL_OPERATOR else 'test'}-{uuid.uuid4().hex[:6]}-"
    if REAL_OPERATOR:
        yield prefix
        return
    log = tempfile.NamedTemporaryFile("w+", prefix="standin-operator-", suffix=".log", delete=False)  # noqa: SIM115
    operator = subprocess.Popen(
        [sys.executable, str(HERE / "standin_operator.py"), prefix], stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert operator.stdout is not None
    assert operator.stdout.readline() == "ready\n", Path(log.name).read_text()
    yield prefix
    operator.terminate()
    said, _ = operator.communicate(timeout=10)
    log.close()
    failed = operator.returncode, said, Path(log.name).read_text()
    assert failed[0] == 0, failed
    Path(log.name).unlink()


@pytest_asyncio.fixture
async def admin(prefix: str) -> AsyncIterator[ApiClient]:
    """A client that may do everything."""
    await config.load_kube_config()
    async with ApiClient() as api:
        yield api


@pytest_asyncio.fixture
async def namespace(
    request: pytest.FixtureRequest, admin: ApiClient, prefix: str, image: str, tmp_path: Path
) -> AsyncIterator[Namespace]:
    """Empty, but for a service account that has the rights of manifests/rbac.yaml: what the plugin is given.

    Afterwards the namespace must be as empty: no MiniCluster, Job, pod or claim of ours.
    """
    namespace = Namespace(admin, f"{prefix}{uuid.uuid4().hex[:6]}", image, tmp_path)
    await namespace.create()
    try:
        yield namespace
        if request.node.stash.get(FAILED, False):
            print(await namespace.describe())
        else:
            await namespace.is_empty()
    except AssertionError:
        print(await namespace.describe())
        raise
    finally:
        await namespace.delete()


@pytest_asyncio.fixture
async def shared_volume(namespace: Namespace) -> AsyncIterator[Path]:
    """A claim `shared` that every pod can mount; the nodes are this machine, which sees it at this path."""
    path = Path(tempfile.mkdtemp(prefix="fluxop-volume-", dir="/var/tmp"))
    await namespace.volume("shared", path)
    yield path
    shutil.rmtree(path)
