"""The MiniCluster object of a flavour, a size and the configuration."""

import re

import pytest

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes.pods import images, pod
from streamflow_fluxop.miniclusters.kubernetes.quantities import quantity
from streamflow_fluxop.miniclusters.kubernetes.resource import GROUP, life_name, minicluster
from streamflow_fluxop.model import Flavour

CPU = Flavour(cores=4, memory=8192)


def spec(flavour=CPU, size=2, image="app:1", max_size=None, **config):
    config = KubernetesConfig.model_validate(config, strict=True)
    return minicluster("cpu-1", flavour, size, image=image, max_size=max_size, config=config)["spec"]


def main(**more):
    return spec(**more)["containers"][0]


def test_it_is_interactive_cleans_up_and_can_grow_to_its_maximum():
    made = spec(max_size=5)
    assert (made["size"], made["maxSize"], made["interactive"], made["cleanup"]) == (2, 5, True, True)
    assert "maxSize" not in spec(max_size=2)


def test_a_pod_asks_for_what_the_flavour_has_and_gets_no_more():
    gpus = Flavour(cores=4, memory=8192, gpus=2, resources={"hugepages-2Mi": "1Gi", "cpu": "3500m"})
    asked = main(flavour=gpus, gpu_resource="amd.com/gpu")["resources"]
    wanted = {"cpu": "3500m", "memory": "8192Mi", "amd.com/gpu": "2", "hugepages-2Mi": "1Gi"}
    assert asked == {"requests": wanted, "limits": wanted}


def test_flux_gives_out_what_the_flavour_has_not_what_the_machine_has():
    gpu = Flavour(cores=4, memory=8192, gpus=2)
    assert "--cores=0-3 >" in main()["commands"]["pre"]
    assert "--cores=0-3 --gpus=0-1 >" in main(flavour=gpu)["commands"]["pre"]
    assert "noverify = true" in main()["commands"]["pre"]


def test_each_minicluster_has_a_service_of_its_own():
    assert spec()["network"] == {"headlessName": "cpu-1"}


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ({"claim": "work", "path": "/work"}, {"work": {"claimName": "work", "path": "/work"}}),
        ({"host_path": "/d", "path": "/d"}, {"work": {"hostPath": "/d", "path": "/d"}}),
        (
            {"secret": "s", "path": "/s", "read_only": True},
            {"work": {"secretName": "s", "path": "/s", "readOnly": True}},
        ),
        ({"empty_dir": {"medium": "memory"}}, {"work": {"emptyDir": True, "emptyDirMedium": "memory"}}),
        (
            # the operator mounts it by the name of the config map
            {"config_map": "c", "items": {"k": "f"}, "path": "/c"},
            {"c": {"configMapName": "c", "items": {"k": "f"}, "path": "/c"}},
        ),
    ],
)
def test_volumes_are_said_in_the_operators_words(said, there):
    assert main(volumes={"work": said})["volumes"] == there


def test_a_template_lies_under_what_the_fleet_says():
    template = {
        "size": 9,
        "logging": {"quiet": True},
        "flux": {"logLevel": 7, "container": {"pullAlways": True}},
        "pod": {"nodeSelector": {"a": "b"}},
        "containers": [{"image": "other", "commands": {"pre": "echo mine"}}, {"name": "beside", "image": "x"}],
    }
    made = spec(flavour=CPU.model_copy(update={"node_selector": {"c": "d"}}), template=template)
    assert made["size"] == 2
    assert made["logging"] == {"quiet": True}
    assert made["flux"]["logLevel"] == 7
    assert made["flux"]["container"]["pullAlways"]
    assert made["pod"]["nodeSelector"] == {"a": "b", "c": "d"}
    first, beside = made["containers"]
    assert (first["image"], first["runFlux"], beside["name"]) == ("app:1", True, "beside")
    assert first["commands"]["pre"].endswith("\necho mine")


def test_names_are_short_the_same_each_time_and_one_for_each_life():
    groups = ["cpu", "g" * 40, "g" * 39 + "h"]
    names = [life_name(group, "1a2b3c", life) for group in groups for life in (1, 2, 11)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name) for name in names)
    assert life_name("cpu", "1a2b3c", 1) == "cpu-1a2b3c"


def test_the_state_of_a_group_is_archived_in_a_file_of_its_own():
    volumes = {"work": {"claim": "work", "path": "/work", "shared": True}}
    config = KubernetesConfig.model_validate({"volumes": volumes, "archive": "/work/states"})
    made = minicluster("analysis-1a2b3c", CPU, 1, config=config, labels={GROUP: "analysis"})["spec"]
    assert made["archive"] == {"path": "/work/states/analysis.tgz"}
    assert "archive" not in spec()
    with pytest.raises(ValueError, match="archive /elsewhere is on no claim"):
        KubernetesConfig.model_validate({"volumes": volumes, "archive": "/elsewhere"})


def test_restricted_pods_have_the_security_context_in_every_container():
    whole = spec(
        pod_security="restricted",
        security_context={"runAsUser": 2000},
        template={"containers": [{}, {"name": "beside", "image": "other:1"}]},
    )
    wanted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 2000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert [c["securityContext"] for c in whole["containers"]] == [wanted, wanted]
    assert whole["flux"]["container"]["securityContext"] == wanted


def test_secrets_are_named_and_their_values_are_not_in_the_object():
    assert main(secrets={"TOKEN": {"name": "store", "key": "token"}})["secrets"] == {
        "TOKEN": {"name": "store", "key": "token"}
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            {"pod_security": "restricted", "volumes": {"work": {"host_path": "/srv", "path": "/work"}}},
            "pod_security: restricted has no host_path, which volume 'work' is",
        ),
        (
            {"environment": {"A": "1"}, "secrets": {"A": {"name": "s", "key": "k"}}},
            "the variable A is in `environment` and in `secrets`",
        ),
    ],
)
def test_what_cannot_be_is_refused(said, why):
    with pytest.raises(ValueError, match=why):
        KubernetesConfig.model_validate(said)


def test_the_pod_that_is_tried_is_the_one_that_the_operator_makes():
    cluster = minicluster(
        "mc", CPU, 2, image="app:1", config=KubernetesConfig.model_validate(
            {"pod_security": "restricted", "fs_group": 7, "volumes": {"work": {"claim": "c", "path": "/work"}}}
        ),
    )  # fmt: skip
    cluster["spec"]["flux"]["container"]["image"] = "view:1"
    assert images(cluster) == {"app:1", "view:1"}
    tried = pod(cluster, 2)["spec"]
    assert tried["securityContext"] == {"fsGroup": 7}
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "c"}} in tried["volumes"]
    (flux,), (main,) = tried["initContainers"], tried["containers"]
    assert flux["securityContext"] == main["securityContext"]
    assert (flux["image"], main["image"]) == ("view:1", "app:1")
    assert quantity(main["resources"]["limits"]["cpu"]) == 2 * CPU.cores
