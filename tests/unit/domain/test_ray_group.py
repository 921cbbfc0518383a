import pytest

from kaito.domain.ray_group import RayGroup, headless_service, leader_host
from tests.unit.domain.builders import GATED, TWO_A10, TWO_A100, wanted, workspace


def test_a_group_has_several_members() -> None:
    with pytest.raises(ValueError, match="at least two members, got 1"):
        RayGroup(size=1, leader_host="a", join_limit_s=1)


def test_the_leader_is_found_in_whatever_domain_the_cluster_has() -> None:
    assert headless_service("llama") == "llama-headless"
    assert leader_host("llama", "team") == "llama-0.llama-headless.team.svc"


def test_pods_that_serve_one_model_are_a_group() -> None:
    spread = {"instance_type": TWO_A100, "inference": {"preset": GATED}}
    found = wanted(workspace(**spread)).workload
    assert found.group == RayGroup(
        size=2,
        leader_host="phi-0.phi-headless.default.svc",
        join_limit_s=found.startup_limit_s,
    )
    assert (found.replicas, found.gpus) == (2, 2)
    parallel = [one for one in found.arguments if "-parallel-size" in one or "backend" in one]
    assert parallel == [
        "--tensor-parallel-size=2",
        "--pipeline-parallel-size=2",
        "--distributed-executor-backend=ray",
    ]


def test_replicas_and_gpus_of_one_machine_are_none() -> None:
    for parts in (
        {"instance_type": TWO_A10},
        {"resource": {"count": 3}, "annotations": {"kaito.sh/runtime": "transformers"}},
    ):
        found = wanted(workspace(**parts)).workload
        assert found.group is None
        assert not any("backend" in one for one in found.arguments)
