"""The section `kubernetes`: what is wrong in it is said before anything starts."""

import pytest
from pydantic import ValidationError

from streamflow_fluxop.config.fleet import FleetConfig

CLAIM = {"claim": "work", "path": "/work", "shared": True}


def config(kubernetes, **more):
    document = {"cluster": "kubernetes", "flavours": {"cpu": {"cores": 4, "memory": 8192}}, "kubernetes": kubernetes}
    return FleetConfig.model_validate({**document, **more}, strict=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"volumes": {"v": {"path": "/v"}}}, "here is none"),
        ({"volumes": {"v": {"path": "/v", "claim": "c", "secret": "s"}}}, "here is claim and secret"),
        ({"volumes": {"v": {"claim": "c"}}}, "`path` is missing"),
        ({"volumes": {"v": {"empty_dir": {}, "path": "/v"}}}, "mounts an empty_dir at /dev/shm"),
        ({"volumes": {"v": {"secret": "s", "path": "/v", "shared": True}}}, "what MiniClusters share is a claim"),
        ({"volumes": {"v": {"config_map": "c", "path": "/v"}}}, "`items` is missing"),
        ({"volumes": {"a": CLAIM, "b": {"claim": "c", "path": "/work/"}}}, "'a' and 'b' are both mounted at /work"),
        ({"volumes": {"a": CLAIM, "b": {**CLAIM, "path": "/b"}}}, "'a' and 'b' are both `shared`"),
        ({"in_cluster": True, "context": "c"}, "leave kubeconfig and context out"),
        ({"image_pull_policy": "Sometimes"}, "'Always', 'IfNotPresent' or 'Never'"),
        ({"template": {"containers": {}}}, "list of containers"),
        ({"namespace": "Mine"}, "match pattern"),
        ({"flux": {"scheduler": "slurm"}}, "'fluxion' or 'simple'"),
    ],
)
def test_a_mistake_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        config(wrong)


def test_the_work_lies_on_the_shared_volume():
    assert config({"volumes": {"v": CLAIM}}).shared_path == "/work"
    assert config({"volumes": {"v": CLAIM}}, storage={"path": "/work/me"}).shared_path == "/work/me"
    with pytest.raises(ValidationError, match="does not lie on the shared volume, which pods see at /work"):
        config({"volumes": {"v": CLAIM}}, storage={"path": "/elsewhere"})
    with pytest.raises(ValidationError, match=r"no volume of kubernetes\.volumes is `shared: true`"):
        config({}, storage={"path": "/work"})
