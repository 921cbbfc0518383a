"""What is explained is what the operator decides, and adds up."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView
from kaito.domain.decision import Wanted, decide
from kaito.domain.explanation import DOES_NOT_FIT, explain
from kaito.domain.kaito_v0_12 import kaito_model, kaito_node, kaito_v0_12_nodes
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    FOUR_T4,
    GATED,
    H100,
    LONG,
    MINI,
    T4,
    TUNING,
    TWO_A10,
    TWO_A100,
    V100,
    config,
    templated,
    wanted,
    workspace,
)

FALLBACKS = labels.FALLBACK_INSTANCE_TYPES


def explained(config: ConfigView | None = None, region: str = "", **parts: Any) -> dict[str, Any]:
    return explain(workspace(**parts), CATALOGUE, config, region=region)


def serve(model: str) -> dict[str, Any]:
    return {"inference": {"preset": {"name": model}}}


def upstream(**parts: Any) -> Any:
    return explained(**parts)["kaito_v0_12"]


@given(
    st.sampled_from([T4, A10, TWO_A10, FOUR_T4, A100, TWO_A100, H100, V100]),
    st.sampled_from([MINI, LONG, "phi-4", "gpt-oss-20b", "falcon-7b", "gemma-3-27b-instruct"]),
    st.sampled_from([None, {}, {"gpu-memory-utilization": 0.5}, {"kv-cache-dtype": "fp8"}]),
)
def test_it_is_the_operators_decision_and_adds_up(machine: str, model: str, flags: Any) -> None:
    given_config = None if flags is None else config({"vllm": flags})
    found = workspace(instance_type=machine, **serve(model))
    document = explain(found, CATALOGUE, given_config)
    decided = decide(found, CATALOGUE, given_config)
    if not isinstance(decided, Wanted):
        assert document["verdict"] == "refused"
        assert document["refusal"]["reason"] == decided.reason
        told = [(one["field"], one["message"]) for one in document["refusal"]["problems"]]
        assert told == [(one.field, one.message) for one in decided.problems]
        return
    assert document["verdict"] == "runs"
    assert document["summary"] == decided.sizing.summary
    assert document["machines"]["count"] == decided.sizing.nodes
    assert document["engine"]["command"] == [
        *decided.workload.command,
        *decided.workload.arguments,
    ]
    memory = document["memory_per_gpu"]
    taken = sum(memory["parts_bytes"].values())
    assert taken + memory["headroom_bytes"] == memory["budget_bytes"]
    spare = memory["headroom_bytes"] >= memory["known_error_bytes"]
    assert memory["verdict"] == ("fits" if spare else "tight")
    assert memory["budget_bytes"] + memory["kept_back_bytes"] == memory["reported_bytes"]
    assert (
        memory["budget_bytes"] == int(memory["reported_bytes"] * memory["share"])
        or abs(memory["budget_bytes"] - memory["reported_bytes"] * memory["share"]) <= 1
    )


def test_a_model_that_does_not_fit_is_no_mistake() -> None:
    document = explained(instance_type=V100, **serve("phi-4"))
    assert document["refusal"]["reason"] == DOES_NOT_FIT
    (problem,) = document["refusal"]["problems"]
    assert problem["rule"] == "model-fits"
    assert document["kaito_v0_12"]["machines"] is None  # it lists no V100
    large = explained(instance_type=A10, inference={"preset": GATED})
    assert large["refusal"]["reason"] == DOES_NOT_FIT
    assert large["kaito_v0_12"]["differences"] == [
        "KAITO v0.12 takes 9 machines, and the model does not fit what kaito may plan"
    ]


def test_a_mistake_is_not_compared() -> None:
    document = explained(**serve("phi-5"))
    assert document["refusal"]["reason"] == "InvalidSpec"
    assert "kaito_v0_12" not in document


def test_the_price_is_of_all_machines() -> None:
    """phi-4 takes two A10 machines."""
    cheapest = explained(instance_type=A10, **serve("phi-4"))["machines"]
    price = CATALOGUE.instance_type(A10).lowest_price()
    assert price is not None
    assert cheapest["price"]["usd_per_hour"] == 2 * price.on_demand_usd_per_hour
    assert "spot_usd_per_hour" not in cheapest["price"]
    elsewhere = explained(region="westus", **serve(MINI))["machines"]["price"]
    assert elsewhere["region"] == "westus"
    nowhere = explained(region="mars", **serve(MINI))["machines"]["price"]
    assert nowhere == {"region": "mars", "usd_per_hour": None}


def test_what_may_be_bought_instead() -> None:
    found = explained(annotations={labels.CAPACITY_CHOICE: "spot-then-on-demand", FALLBACKS: A100})
    machines = found["machines"]
    assert machines["capacity_types"] == ["spot", "on-demand"]
    (other,) = machines["fallbacks"]
    assert (other["instance_type"], other["gpus"]) == (A100, 1)
    spot = other["price"]["spot_usd_per_hour"]
    assert spot < other["price"]["usd_per_hour"]
    unknown = explained(region="mars", annotations={labels.CAPACITY_CHOICE: "spot"})["machines"][
        "price"
    ]
    assert unknown["spot_usd_per_hour"] is None


def test_load_and_layout_on_several_machines() -> None:
    document = explained(instance_type=A10, **serve("phi-4"))
    assert document["layout"] == {
        "machines_per_replica": 2,
        "gpus_per_machine": 1,
        "tensor_parallel": 1,
        "pipeline_parallel": 2,
        "data_parallel": 1,
    }
    fit = wanted(workspace(instance_type=A10, **serve("phi-4"))).sizing
    serving = document["serving"]
    assert serving["context_tokens"] == 16384
    assert serving["cached_tokens_per_replica"] > serving["context_tokens"]
    assert serving["whole_contexts_at_once"] >= 1
    assert document["engine"]["one_group"]
    assert document["summary"] == fit.summary
    assert "the fullest of 2" in " ".join(document["kaito_v0_12"]["differences"])


def test_an_fp8_cache_takes_half_a_token() -> None:
    plain = explained()["serving"]["cache_bytes_per_token"]
    fp8 = explained(config({"vllm": {"kv-cache-dtype": "fp8"}}))["serving"]
    assert 2 * fp8["cache_bytes_per_token"] == plain


def test_a_template_has_machines_and_nothing_to_fit() -> None:
    document = explain(templated(), CATALOGUE)
    assert document["machines"]["count"] == 1
    assert not {"memory_per_gpu", "serving", "engine", "kaito_v0_12"} & document.keys()
    assert document["warnings"] == []


def test_tuning_caches_nothing() -> None:
    document = explained(tuning=TUNING)
    assert document["workspace"]["mode"] == "tuning"
    assert document["serving"].keys() == {"context_tokens", "model_limit_tokens"}
    assert document["kaito_v0_12"] == {
        "machines": 1,
        "differences": [
            "KAITO v0.12 takes one machine for tuning and does not ask whether it fits"
        ],
    }


@pytest.mark.parametrize(("model", "machine"), [("gpt-oss-20b", A10), ("phi-4", A10), (MINI, A100)])
def test_the_comparison_is_with_its_formula(model: str, machine: str) -> None:
    found = upstream(instance_type=machine, **serve(model))
    profile = kaito_model(CATALOGUE.model(model))
    nodes = kaito_v0_12_nodes(profile, kaito_node(machine, CATALOGUE))
    assert found["machines"] == nodes
    memory = found["memory_per_gpu"]
    used = memory["weights_bytes"] + memory["cache_bytes"] + memory["overhead_bytes"]
    assert used <= memory["budget_bytes"]
    ours = wanted(workspace(instance_type=machine, **serve(model))).sizing.nodes
    told = f"KAITO v0.12 takes {nodes} machine" in found["differences"][0]
    assert told == (ours != nodes)


def test_the_same_context_is_no_difference() -> None:
    asked = config({"vllm": {"max-model-len": 2048}})
    assert not any("tokens of context" in one for one in upstream(config=asked)["differences"])
    assert any("tokens of context" in one for one in upstream()["differences"])


def test_what_it_does_with_transformers() -> None:
    annotations = {labels.RUNTIME: "transformers"}
    found = upstream(resource={"count": 3}, annotations=annotations)
    assert found["machines"] == 3
    assert "asks for no fit" in found["differences"][0]


def test_a_card_that_vllm_has_no_kernels_for() -> None:
    """KAITO lists none of these types any more; if it did, it would estimate for vLLM."""
    listed = tuple(
        replace(one, legacy=False) if one.name == V100 else one for one in CATALOGUE.instance_types
    )
    found = explain(workspace(instance_type=V100), replace(CATALOGUE, instance_types=listed))
    assert found["engine"]["name"] == "transformers"
    assert (
        "KAITO v0.12 estimates for vLLM, kaito plans transformers"
        in (found["kaito_v0_12"]["differences"])
    )
    plain = upstream(instance_type=V100)
    assert plain["refusal"].startswith("failed to get GPU config")
