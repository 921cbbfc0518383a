from dataclasses import replace
from fractions import Fraction

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.measured_memory import (
    MeasuredMemory,
    SkipReason,
    gpu_of,
    profile_of,
    skip_reason,
)
from kaito.domain.quantity import GIB
from tests.unit.domain.calibration_table import configs

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
POINT = MeasuredMemory(id="one", model=LLAMA, gpu="H100-80GB", version="0.19.0", weights_gib=15.0)
GPUS = load_catalogue().gpus


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"engine": "sglang"}, SkipReason.NOT_VLLM),
        ({"tensor_parallel": None}, SkipReason.SHAPE_UNKNOWN),
        ({"weights_gib": None}, SkipReason.NOT_MEASURED),
        ({"weights_gib": None, "kv_gib": 5.0}, SkipReason.NOT_MEASURED),
        (
            {"started": False, "failure": "Free memory on device cuda:1 (60.87/79.19 GiB) is less"},
            SkipReason.OTHER_PROCESSES,
        ),
        ({"started": False, "failure": "Free memory on device cuda:0 (78.6/79.19 GiB)"}, None),
    ],
)
def test_why_a_point_is_not_judged(changes: dict[str, object], reason: SkipReason | None) -> None:
    point = replace(POINT, **changes)  # type: ignore[arg-type]
    assert skip_reason(point, profile_of(point, configs())) is reason


def test_an_unknown_model_has_no_shape() -> None:
    point = replace(POINT, model="nobody/knows")
    assert skip_reason(point, profile_of(point, configs())) is SkipReason.SHAPE_UNKNOWN
    assert profile_of(point, {point.model: {"architectures": ["Unheard"]}}) is None


def test_a_share_and_a_cache_are_enough() -> None:
    point = replace(POINT, weights_gib=None, utilization=Fraction(9, 10))
    profile = profile_of(point, configs())
    assert skip_reason(replace(point, kv_tokens=10), profile) is None
    assert skip_reason(replace(point, started=False), profile) is None


def test_formats_that_the_command_line_chose() -> None:
    plain = profile_of(POINT, configs())
    wide = profile_of(replace(POINT, dtype="float32"), configs())
    short = profile_of(replace(POINT, kv_cache_dtype="fp8", quantization="fp8"), configs())
    assert plain is not None
    assert wide is not None
    assert short is not None
    assert plain.weights is not None
    assert wide.weights is not None
    assert short.weights is not None
    assert wide.weights.total == 2 * plain.weights.total
    assert wide.kv_bytes_per_token() == 2 * plain.kv_bytes_per_token()
    assert short.kv_bytes_per_token() == plain.kv_bytes_per_token() // 2
    tables = 2 * 128256 * 4096 * 2
    halved = (plain.weights.total - tables) // 2 + tables
    assert short.weights.total == pytest.approx(halved, rel=1e-3)


@pytest.mark.parametrize(
    ("gpu", "total", "name", "gib"),
    [
        ("H100-80GB", 79.19, "NVIDIA H100 SXM 80GB", 79.19),
        ("H100-80GB", None, "NVIDIA H100 SXM 80GB", 79.19),
        ("H100 NVL 94GB", None, "NVIDIA H100 NVL 94GB", None),
        ("A100-80GB (card size inferred)", None, "NVIDIA A100 80GB", 79.25),
        ("A100-40GB", None, "NVIDIA A100 40GB", None),
        ("A10", None, "NVIDIA A10", None),
        ("L40S-48GB", None, "NVIDIA L40S", 44.40),
        ("RTX4090-24GB", 23.52, "RTX4090-24GB", 23.52),
    ],
)
def test_the_card_of_a_point(gpu: str, total: float | None, name: str, gib: float | None) -> None:
    found = gpu_of(replace(POINT, gpu=gpu, gpu_total_gib=total), GPUS)
    assert found is not None
    assert found.name == name
    if gib is not None:
        assert found.usable_bytes / GIB == pytest.approx(gib, abs=1e-6)


def test_a_card_that_nobody_knows() -> None:
    assert gpu_of(replace(POINT, gpu="GTX-1080"), GPUS) is None
    assert gpu_of(replace(POINT, gpu="some card"), GPUS) is None
