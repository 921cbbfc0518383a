"""What a plan is asked for: context, concurrency, a load and how fast it is to be answered."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit import DEFAULT_CONTEXT_TOKENS
from kaito.domain.model import EngineName, ModelProfile

__all__ = ["FitRequest", "RequestShape"]

_MOST: Final = 10**9  # of anything that is asked for
_INPUT_TOKENS: Final = 1000
_OUTPUT_TOKENS: Final = 200
"""What a request looks like where nobody says: a choice, so that speeds can be told at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """Tokens of a mean request."""

    input_tokens: int
    output_tokens: int

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What is demanded; None is "no demand".

    `context` are tokens of one sequence, `concurrency` sequences of that context held at once,
    `rate` requests per second, `ttft_s` and `tpot_s` bounds on the mean time to the first token and
    per output token, in seconds. `adapters` counts LoRA slots, `engine` is one that the user
    insists on.
    """

    context: int | None = None
    concurrency: int | None = None
    rate: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    adapters: int = 0
    engine: EngineName | None = None

    @property
    def has_slo(self) -> bool:
        return self.ttft_s is not None or self.tpot_s is not None

    @property
    def needs_speed(self) -> bool:
        """Whether an engine whose speed is not known cannot do."""
        return self.rate is not None or self.has_slo

    @property
    def given(self) -> tuple[str, ...]:
        """The options that say what is demanded."""
        return tuple(name for field, name in _OPTIONS.items() if getattr(self, field) is not None)

    def shape(self, model: ModelProfile) -> RequestShape:
        """The mean request; what is not said is 1,000 tokens in and 200 out, or less where the
        context is shorter."""
        limit = self.context or model.token_limit
        output = self.output_tokens or max(1, min(_OUTPUT_TOKENS, limit // 6))
        rest = max(1, limit - output)
        return RequestShape(
            input_tokens=self.input_tokens or min(_INPUT_TOKENS, rest), output_tokens=output
        )

    def least_context(self, model: ModelProfile) -> int:
        """Tokens of context below which a plan is of no use."""
        if self.context is not None:
            return self.context
        floor = min(model.token_limit, DEFAULT_CONTEXT_TOKENS)
        return max(floor, (self.input_tokens or 0) + (self.output_tokens or 0))

    def wished_context(self, model: ModelProfile) -> int:
        """Tokens of context beyond which more is of no use: the model's limit, where neither a
        context is asked for nor the requests are described."""
        if self.context is None and self.input_tokens is None and self.output_tokens is None:
            return model.token_limit
        return self.least_context(model)

    def check(self, model: ModelProfile) -> None:
        """Raises: InvalidInput with every demand that is none, or that this model cannot meet."""
        problems = [*self._sizes(), *self._contexts(model)]
        if problems:
            raise InvalidInput(problems)

    def _sizes(self) -> Iterator[Problem]:
        counts = ("context", "concurrency", "input_tokens", "output_tokens")
        for name in (*counts, "rate", "ttft_s", "tpot_s"):
            value = getattr(self, name)
            least = 1 if name in counts else 0
            if value is None or (value >= least and 0 < value <= _MOST):
                continue
            bound = "at least 1" if name in counts else "a number above 0"
            if value > _MOST:
                bound = f"at most {_MOST:,}"
            yield Problem(field=_OPTIONS[name], message=f"must be {bound}, got {value}")

    def _contexts(self, model: ModelProfile) -> Iterator[Problem]:
        limit, context = model.token_limit, self.context
        if context is not None and context > limit:
            yield Problem(
                field=_OPTIONS["context"],
                message=f"is {context}, and the limit of {model.name} is {limit} tokens",
                remedy=f"Ask for at most {limit}",
            )
            return
        asked = (self.input_tokens or 0) + (self.output_tokens or 0)
        if asked > (context or limit):
            what = "the context asked for" if context else f"the limit of {model.name}"
            yield Problem(
                field=f"{_OPTIONS['input_tokens']}, {_OPTIONS['output_tokens']}",
                message=f"a request of {asked} tokens is longer than {what}, {context or limit}",
                remedy="Ask for shorter requests" + (" or a longer context" if context else ""),
            )


_OPTIONS: Final = {
    "context": "--context",
    "concurrency": "--concurrency",
    "rate": "--rate",
    "input_tokens": "--input-tokens",
    "output_tokens": "--output-tokens",
    "ttft_s": "--ttft",
    "tpot_s": "--tpot",
}
"""What the fields are called on the command line, which is where most of them come from."""
