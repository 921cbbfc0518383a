"""Where weights lie: what tensor parallelism divides, what every rank holds in full."""

from dataclasses import dataclass

__all__ = ["LayerWeights", "WeightLayout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Bytes of one decoder block as the engine holds them.

    `sharded` is divided by the tensor parallel size (key and value projections by at most the
    number of KV heads), `replicated` lies on every rank in full (norms, routers, down-projections
    of latent attention), `experts` are the routed ones, divided by the tensor or expert parallel
    size.
    """

    sharded: int
    replicated: int
    experts: int = 0

    @property
    def total(self) -> int:
        return self.sharded + self.replicated + self.experts


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """Bytes of a whole model, block by block in the order of the pipeline.

    `embedding` and `lm_head` (0 where it shares the embedding's) are divided by the tensor
    parallel size; their vocabulary is padded to a multiple of 64, as vLLM does. The first pipeline
    rank holds the embedding, the last one `final_norm` and lm_head (a tied one twice over).
    `vision` are towers and projectors of other modalities, on the first pipeline rank; vLLM
    divides them by the tensor parallel size (--mm-encoder-tp-mode weights, its default).
    `rotary` are the tables of positions, on every rank in full: they are in no file and not in
    `total`, but vLLM counts them in the memory that loading the model took.
    `embedding_everywhere` and `head_everywhere` (with the final norm): on every pipeline rank.
    """

    embedding: int
    lm_head: int
    layers: tuple[LayerWeights, ...]
    final_norm: int = 0
    vision: int = 0
    rotary: int = 0
    embedding_everywhere: bool = False
    head_everywhere: bool = False

    @property
    def total(self) -> int:
        """Bytes of all weights, as in the files that are loaded."""
        rest = self.embedding + self.lm_head + self.final_norm + self.vision
        return rest + sum(layer.total for layer in self.layers)
