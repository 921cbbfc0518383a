from dataclasses import replace

import pytest

from kaito.domain.candidate import DoesNotFit
from kaito.domain.engine import EngineName, choose_engine
from kaito.domain.errors import InvalidInput
from kaito.domain.fit_plan import FitPlan
from kaito.domain.known_error import TUNING_ERROR, Verdict
from kaito.domain.model import ModelProfile, TuningSupport
from kaito.domain.tuning_fit import TuningRequest, fit_tuning
from kaito.domain.tuning_method import TuningMethod
from tests.unit.domain.builders import A10, A100, CATALOGUE, TWO_A100, V100

LORA, QLORA = TuningMethod.LORA, TuningMethod.QLORA


def tune(
    model: str | ModelProfile,
    machine: str,
    request: TuningRequest,
    engine: EngineName = EngineName.TRANSFORMERS,
) -> FitPlan:
    profile = CATALOGUE.model(model) if isinstance(model, str) else model
    instance_type = CATALOGUE.instance_type(machine)
    choice = choose_engine(CATALOGUE.engines, instance_type.gpu, profile, engine)
    return fit_tuning(profile, instance_type, request, choice)


def test_tuning_copies_the_model_to_every_gpu() -> None:
    plan = tune("phi-4", TWO_A100, TuningRequest(method=LORA))
    assert (plan.tensor_parallel, plan.pipeline_parallel, plan.nodes) == (1, 1, 1)
    assert plan.data_parallel == 2
    assert plan.memory.optimizer > 0
    assert plan.verdict is Verdict.FITS
    assert plan.error is TUNING_ERROR


def test_qlora_brings_phi_4_onto_a_v100_and_lora_does_not() -> None:
    assert tune("phi-4", V100, TuningRequest(method=QLORA)).dtype == "float16"
    with pytest.raises(DoesNotFit) as caught:
        tune("phi-4", V100, TuningRequest(method=LORA))
    assert caught.value.binds == "weights"


def test_a_sequence_too_long_to_tune_binds_on_activations() -> None:
    with pytest.raises(DoesNotFit, match="16384 tokens a sequence") as caught:
        tune("phi-4", V100, TuningRequest(method=QLORA, sequence_tokens=16384))
    assert caught.value.binds == "activations"
    assert "shorter sequences" in caught.value.remedy


def test_larger_batches_leave_less_until_it_is_tight() -> None:
    free = [
        tune("phi-4", A10, TuningRequest(method=QLORA, batch_size=batch)) for batch in (1, 4, 6)
    ]
    assert [one.headroom_bytes for one in free] == sorted(
        (one.headroom_bytes for one in free), reverse=True
    )
    assert [one.verdict for one in free] == [Verdict.FITS, Verdict.FITS, Verdict.TIGHT]
    without = TuningRequest(method=QLORA, batch_size=4, gradient_checkpointing=False)
    with pytest.raises(DoesNotFit):
        tune("phi-4", A10, without)


def test_tuning_needs_a_tunable_model_and_transformers() -> None:
    frozen = replace(CATALOGUE.model("phi-4"), tuning=None)
    with pytest.raises(InvalidInput, match="phi-4 cannot be tuned"):
        tune(frozen, A100, TuningRequest(method=LORA))
    only_lora = replace(
        frozen, tuning=TuningSupport(methods=(LORA,), target_modules=(), disk_bytes=0)
    )
    with pytest.raises(InvalidInput, match="cannot be tuned with qlora, but with lora"):
        tune(only_lora, A100, TuningRequest(method=QLORA))
    with pytest.raises(ValueError, match="tuning runs on transformers, not on vllm"):
        tune("phi-4", A100, TuningRequest(method=LORA), EngineName.VLLM)


def test_sizes_that_are_none_are_told_together() -> None:
    request = TuningRequest(method=LORA, sequence_tokens=99_999, batch_size=0, lora_rank=10**7)
    with pytest.raises(InvalidInput) as caught:
        request.check(CATALOGUE.model("phi-4"))
    assert [one.field for one in caught.value.problems] == [
        "--sequence-length",
        "--batch-size",
        "--rank",
    ]
    TuningRequest(method=LORA).check(CATALOGUE.model("phi-4"))
