"""Which engine serves or tunes a model on a GPU, in which number format, from which image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kaito.domain.errors import DomainError
from kaito.domain.gpu import Gpu
from kaito.domain.model import EngineName, ModelProfile

__all__ = ["Engine", "EngineChoice", "EngineName", "NoEngine", "choose_engine"]


class NoEngine(DomainError):
    """No engine can run this model on this GPU as asked; `remedy` says what to change."""

    def __init__(self, message: str, *, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine in one image. Compute capabilities are inclusive; None means no upper bound.

    `flags` are those of its server, without dashes in front; none: they are not known.
    `removed_flags` are those of older versions, with what to do instead.
    """

    name: EngineName
    version: str
    image: str
    min_compute_capability: tuple[int, int]
    max_compute_capability: tuple[int, int] | None
    source: str
    flags: frozenset[str] = field(default=frozenset(), repr=False)
    removed_flags: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def supports(self, gpu: Gpu) -> bool:
        """Whether the image has kernels for this GPU."""
        capability = gpu.compute_capability
        if capability is None or capability < self.min_compute_capability:
            return False
        return self.max_compute_capability is None or capability <= self.max_compute_capability

    def dtype_for(self, gpu: Gpu) -> str:
        """The 16-bit number format: "bfloat16" where the hardware has it, else "float16"."""
        return "bfloat16" if gpu.has_bfloat16 else "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine to use, its number format, and what the user must know about it, if anything."""

    engine: Engine
    dtype: str
    warning: str | None = None


def choose_engine(
    engines: Iterable[Engine],
    gpu: Gpu,
    model: ModelProfile,
    requested: EngineName | None = None,
    *,
    newer_instance_type: str | None = None,
) -> EngineChoice:
    """vLLM where it has kernels for the GPU, else transformers, unless one is requested.

    `newer_instance_type` names a type on which vLLM could run; it is only quoted in the warning
    or the remedy, so call once without it, look for one, and call again.

    Raises: NoEngine.
    """
    _check_weights_can_be_read(gpu, model, newer_instance_type)
    ordered = sorted(engines, key=lambda engine: (engine.min_compute_capability, engine.version))
    usable = [
        engine for engine in ordered if engine.supports(gpu) and engine.name in model.runtimes
    ]
    wanted = [requested] if requested else [EngineName.VLLM, EngineName.TRANSFORMERS]
    for name in wanted:
        matching = [engine for engine in usable if engine.name is name]
        if matching:
            engine = matching[-1]  # the one made for the newest cards
            warning = _old_card_warning(ordered, engine, gpu, newer_instance_type)
            return EngineChoice(engine=engine, dtype=engine.dtype_for(gpu), warning=warning)
    raise _refusal(ordered, usable, gpu, model, requested, newer_instance_type)


def _old_card_warning(
    engines: list[Engine], chosen: Engine, gpu: Gpu, newer: str | None
) -> str | None:
    """What to say about a card that vLLM has no kernels for; None for every other card."""
    vllm = [engine for engine in engines if engine.name is EngineName.VLLM]
    if chosen.name is EngineName.VLLM or not vllm or any(one.supports(gpu) for one in vllm):
        return None
    oldest = vllm[0]
    text = (
        f"{gpu.name} has compute capability {gpu.capability_text}, and vLLM {oldest.version} has "
        f"kernels from {_dotted(oldest.min_compute_capability)} up: using {chosen.name} "
        f"{chosen.version} in {chosen.dtype_for(gpu)} from the pinned image {chosen.image} "
        "instead, which does not batch requests; QLoRA computes in "
        f"{chosen.dtype_for(gpu)} too"
    )
    advice = f"; {newer} fits and runs vLLM" if newer else "; a newer GPU runs vLLM"
    return text + advice


def _check_weights_can_be_read(gpu: Gpu, model: ModelProfile, newer: str | None) -> None:
    """Raises: NoEngine."""
    least = model.min_compute_capability
    if gpu.compute_capability is None or gpu.compute_capability >= least:
        return
    what = f"has {model.quantization} weights, which need" if model.quantized else "needs"
    instance = f"an instance type such as {newer}" if newer else "an instance type with a newer GPU"
    raise NoEngine(
        f"{model.name} {what} compute capability {_dotted(least)}, and {gpu.name} has "
        f"{gpu.capability_text}",
        remedy=f"Choose {instance}",
    )


def _refusal(
    engines: list[Engine],
    usable: list[Engine],
    gpu: Gpu,
    model: ModelProfile,
    requested: EngineName | None,
    newer: str | None,
) -> NoEngine:
    instance = f"an instance type such as {newer}" if newer else "an instance type with a newer GPU"
    if requested and requested not in model.runtimes:
        return NoEngine(
            f"{model.name} does not run on {requested}, only on {', '.join(model.runtimes)}",
            remedy="Remove the kaito.sh/runtime annotation, or choose another model",
        )
    if gpu.compute_capability is None:
        return NoEngine(
            f"no engine image has kernels for {gpu.name}",
            remedy=f"Choose {instance} from NVIDIA, or give your own pod template",
        )
    names = (requested,) if requested else model.runtimes
    ranges = ", ".join(
        f"{engine.name} {engine.version} ({_range(engine)})"
        for engine in engines
        if engine.name in names
    )
    message = (
        f"{gpu.name} has compute capability {gpu.capability_text}, for which no image has "
        f"kernels: {ranges or 'no engine is known'}"
    )
    if requested and usable:
        return NoEngine(
            message,
            remedy=(
                f"Remove the kaito.sh/runtime annotation to be served by {usable[-1].name} "
                f"{usable[-1].version} on this GPU, or choose {instance}"
            ),
        )
    return NoEngine(message, remedy=f"Choose {instance}")


def _range(engine: Engine) -> str:
    low = _dotted(engine.min_compute_capability)
    high = engine.max_compute_capability
    return f"from {low}" if high is None else f"{low} to {_dotted(high)}"


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
