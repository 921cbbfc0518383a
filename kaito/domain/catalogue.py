"""The models, GPUs, machines and engines that kaito knows, looked up by name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from kaito.domain.engine import Engine
from kaito.domain.errors import DomainError, InvalidInput, Problem
from kaito.domain.gpu import Gpu, InstanceType
from kaito.domain.model import ModelProfile
from kaito.domain.names import did_you_mean, nearest

_T = TypeVar("_T")


class UnknownName(DomainError):
    """A name is not in the catalogue; `nearest` are the closest known ones, best first."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        self.name = name
        self.nearest = nearest(name, names)
        self.message = f"unknown {what} {name!r}"
        self.remedy = self._remedy(names)
        super().__init__(f"{self.message}. {self.remedy}")

    def _remedy(self, names: list[str]) -> str:
        return did_you_mean(self.name, names)


class UnknownModel(UnknownName):
    """No model has this name, alias or Hugging Face id."""

    def _remedy(self, names: list[str]) -> str:
        if self.nearest and "/" not in self.name:
            return did_you_mean(self.name, names)
        listed = f"{did_you_mean(self.name, names)} " if self.nearest else ""
        return (
            f"{listed}A model that is not in the catalogue needs a file that describes it, named "
            "to kaito with --models (KAITO_MODELS): see docs/models.md"
        )


class UnknownInstanceType(UnknownName):
    """No instance type has this name."""


class UnknownGpu(UnknownName):
    """No GPU has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that presets/ holds, each kind sorted by name. Lookups ignore case."""

    models: tuple[ModelProfile, ...]
    gpus: tuple[Gpu, ...]
    instance_types: tuple[InstanceType, ...]
    engines: tuple[Engine, ...]
    _models: dict[str, ModelProfile] = field(init=False, repr=False, compare=False)
    _gpus: dict[str, Gpu] = field(init=False, repr=False, compare=False)
    _products: dict[str, Gpu] = field(init=False, repr=False, compare=False)
    _instance_types: dict[str, InstanceType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises: InvalidInput when two entries answer to one name."""
        problems: list[Problem] = []
        models = [
            (key, one)
            for one in self.models
            for key in dict.fromkeys((one.name, one.hf_id, *one.aliases))
        ]
        index = {
            "_models": _index("model", models, problems),
            "_gpus": _index("GPU", ((one.name, one) for one in self.gpus), problems),
            "_products": _index(
                "GPU product",
                ((product, one) for one in self.gpus for product in one.products),
                problems,
            ),
            "_instance_types": _index(
                "instance type", ((one.name, one) for one in self.instance_types), problems
            ),
        }
        if problems:
            raise InvalidInput(problems)
        for name, mapping in index.items():
            object.__setattr__(self, name, mapping)

    def model(self, name: str) -> ModelProfile:
        """By name, alias or Hugging Face id. Raises: UnknownModel."""
        found = self._models.get(name.casefold())
        if found is None:
            names = [key for one in self.models for key in (one.name, one.hf_id)]
            raise UnknownModel("model", name, names)
        return found

    def instance_type(self, name: str) -> InstanceType:
        """By the cloud's name for it. Raises: UnknownInstanceType."""
        found = self._instance_types.get(name.casefold())
        if found is None:
            names = [one.name for one in self.instance_types]
            raise UnknownInstanceType("instance type", name, names)
        return found

    def gpu(self, name: str) -> Gpu:
        """By name, such as "NVIDIA A10". Raises: UnknownGpu."""
        found = self._gpus.get(name.casefold())
        if found is None:
            raise UnknownGpu("GPU", name, [one.name for one in self.gpus])
        return found

    def gpu_product(self, product: str) -> Gpu:
        """By the value of a Node's label nvidia.com/gpu.product. Raises: UnknownGpu."""
        found = self._products.get(product.casefold())
        if found is None:
            names = [product for one in self.gpus for product in one.products]
            raise UnknownGpu("GPU product", product, names)
        return found


def _index(what: str, entries: Iterable[tuple[str, _T]], problems: list[Problem]) -> dict[str, _T]:
    index: dict[str, _T] = {}
    for name, entry in entries:
        key = name.casefold()
        if key in index and index[key] is not entry:
            problems.append(
                Problem(field=name, message=f"two entries are called so ({what})", remedy="Rename")
            )
        index[key] = entry
    return index
