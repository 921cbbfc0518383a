"""Whatever is in a config.json: it is read, or refused with an error that says why."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain.errors import InvalidModel
from kaito.domain.hf_config import profile_from_config
from tests.unit.domain.hf_config.published import PRESETS, decoder

ODD = st.sampled_from(
    [None, 0, -1, 3, 10**12, 1.5, float("nan"), True, "", "x", [], [1], ["x"], [None], {}, {"x": 1}]
)
NAMES = sorted(
    name
    for name in PRESETS
    if name
    in {
        "deepseek-v3.2",
        "gemma-4-26b-a4b-it",
        "gpt-oss-20b",
        "nvidia-nemotron-3-nano-30b-a3b-bf16",
        "qwen3-8b-awq",
        "qwen3.5-4b",
    }
)


def paths(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where the values of nested objects are."""
    if not isinstance(value, dict):
        return [above]
    return [above, *(path for key in value for path in paths(value[key], (*above, key)))]


def changed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    """A copy with another value there."""
    if not path:
        return new
    return {**value, path[0]: changed(value[path[0]], path[1:], new)}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_config_is_read_or_refused(data: st.DataObject) -> None:
    config: Any = PRESETS[data.draw(st.sampled_from(NAMES))][0]
    path = data.draw(st.sampled_from([path for path in paths(config) if path]))
    try:
        found = profile_from_config(changed(config, path, data.draw(ODD)), name="m", source="x")
    except InvalidModel as error:
        assert error.problems[0].field  # noqa: PT017
    else:
        assert found.weights is not None
        assert found.weight_bytes == found.weights.total > 0


@given(
    layers=st.integers(1, 6),
    groups=st.integers(1, 4),
    heads=st.integers(1, 4),
    size=st.integers(1, 300),
    tied=st.booleans(),
)
def test_bytes_are_twice_the_parameters(
    layers: int, groups: int, heads: int, size: int, tied: bool
) -> None:
    """In 16 bits, with a vocabulary that needs no padding."""
    config = decoder(
        "Qwen3ForCausalLM",
        layers,
        16 * groups * heads,
        (groups * heads, heads),
        size,
        128,
        tie_word_embeddings=tied,
    )
    found = profile_from_config(config, name="m", source="x")
    assert found.weight_bytes == 2 * found.parameters
