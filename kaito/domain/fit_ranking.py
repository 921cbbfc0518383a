"""Instance types as answers to what is asked, best first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kaito.domain.engine import Engine
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit_offer import MACHINE_LIMIT, Offer, offer_on, tuning_offer_on
from kaito.domain.fit_request import FitRequest
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import Verdict
from kaito.domain.model import ModelProfile
from kaito.domain.names import did_you_mean
from kaito.domain.tuning_fit import TuningRequest

__all__ = ["Ranking", "instance_types_of", "rank", "rank_tuning", "refuse_unmet"]

_NAMED_FALLBACKS: Final = 3
_REGIONLESS: Final = "unspecified"  # a price whose source names no region


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Every instance type that was asked about: `offers` answer, best first; `rejected` do not,
    and each says why, those that come closest in memory first."""

    offers: tuple[Offer, ...]
    rejected: tuple[Offer, ...]

    @property
    def recommended(self) -> Offer | None:
        """The best that fits with its known error to spare, is sold to new users and has a price;
        None where none is like that."""
        return next((one for one in self.offers if _is_sound(one)), None)

    @property
    def fallbacks(self) -> tuple[InstanceType, ...]:
        """Types of the same cloud that can stand in for the recommended one (the annotation
        kaito.sh/fallback-instance-types): those on which one machine is enough, too, and holds
        as long a context."""
        first = self.recommended
        if first is None or first.plan is None or first.plan.nodes > 1:
            return ()
        others = (
            one.instance_type
            for one in self.offers
            if one is not first
            and _is_sound(one)
            and one.plan is not None
            and one.plan.nodes == 1
            and one.tokens >= first.tokens
            and one.instance_type.cloud == first.instance_type.cloud
        )
        return tuple(others)[:_NAMED_FALLBACKS]


def rank(
    model: ModelProfile,
    instance_types: Iterable[InstanceType],
    engines: Sequence[Engine],
    request: FitRequest,
    *,
    region: str | None = None,
    spot: bool = False,
) -> Ranking:
    """Ranked by what all machines cost that the demand takes.

    Before cost comes whether there is a price, whether new users can buy the type, whether it fits
    with its known error to spare, and, where neither a context nor a request is described, whether
    it holds the model's whole limit.

    Raises: InvalidInput (a demand that no model, or not this one, can meet).
    """
    request.check(model)
    found = [
        offer_on(model, one, engines, request, region=region, spot=spot) for one in instance_types
    ]
    return _ranked(found)


def rank_tuning(
    model: ModelProfile,
    instance_types: Iterable[InstanceType],
    engines: Sequence[Engine],
    request: TuningRequest,
    *,
    region: str | None = None,
    spot: bool = False,
) -> Ranking:
    """As `rank`, for a tuning job.

    Raises: InvalidInput (sizes that are none, or a model that cannot be tuned so).
    """
    request.check(model)
    return _ranked(
        [
            tuning_offer_on(model, one, engines, request, region=region, spot=spot)
            for one in instance_types
        ]
    )


def _ranked(found: Sequence[Offer]) -> Ranking:
    return Ranking(
        offers=tuple(sorted((one for one in found if one.accepted), key=_rank_key)),
        rejected=tuple(sorted((one for one in found if not one.accepted), key=_closeness)),
    )


def instance_types_of(
    known: Iterable[InstanceType],
    *,
    clouds: Sequence[str] = (),
    region: str | None = None,
    names: Sequence[str] = (),
) -> tuple[InstanceType, ...]:
    """The types of these clouds (none: of all), or only those with these names.

    Raises: InvalidInput (an unknown cloud, region or name, each with what is known).
    """
    types = tuple(known)
    all_clouds = sorted({one.cloud for one in types})
    problems = [
        Problem(
            field="--cloud",
            message=f"unknown cloud {cloud!r}",
            remedy=f"Known: {', '.join(all_clouds)}",
        )
        for cloud in clouds
        if cloud not in all_clouds
    ]
    by_name = {one.name.casefold(): one for one in types}
    problems += [
        Problem(
            field="--instance-type",
            message=f"unknown instance type {name!r}",
            remedy=did_you_mean(name, [one.name for one in types]),
        )
        for name in names
        if name.casefold() not in by_name
    ]
    regions = sorted({region for one in types for region in one.prices} - {_REGIONLESS})
    if region is not None and region not in regions:
        problems.append(
            Problem(
                field="--region",
                message=f"no price is known in {region!r}",
                remedy=f"Known: {', '.join(regions)}",
            )
        )
    if problems:
        raise InvalidInput(problems)
    if names:
        return tuple(dict.fromkeys(by_name[name.casefold()] for name in names))
    return tuple(one for one in types if not clouds or one.cloud in clouds)


def refuse_unmet(ranking: Ranking, request: FitRequest) -> None:
    """Raises: InvalidInput where memory would do, and no instance type carries the load with the
    machines of a cluster, or keeps the bounds on time; it names the one that comes closest."""
    if ranking.offers:
        return
    many = [one for one in ranking.rejected if one.machines > MACHINE_LIMIT]
    slow = [one for one in ranking.rejected if one.speed is not None and one.speed.missed]
    if many:
        raise _too_many(min(many, key=_machines), request)
    if slow:
        raise _too_slow(min(slow, key=_excess), request)


def _too_many(closest: Offer, request: FitRequest) -> InvalidInput:
    asked = {"--rate": request.rate, "--concurrency": request.concurrency}
    given = {name: value for name, value in asked.items() if value is not None}
    load = " and ".join(f"{name} {value:,.12g}" for name, value in given.items())
    problem = Problem(
        field=", ".join(given),
        message=f"no instance type carries {load} with the {MACHINE_LIMIT:,} machines that a "
        f"cluster has at most; the closest is {closest.instance_type.name}, with "
        f"{closest.copies:,} copies on {closest.machines:,} machines",
        remedy="Ask for less, or plan for a part of the load and as many clusters as it takes",
    )
    return InvalidInput([problem])


def _too_slow(closest: Offer, request: FitRequest) -> InvalidInput:
    asked = {"--ttft": request.ttft_s, "--tpot": request.tpot_s}
    bounds = " and ".join(
        f"{name} {most * 1000:g} ms" for name, most in asked.items() if most is not None
    )
    problem = Problem(
        field=", ".join(name for name, most in asked.items() if most is not None),
        message=f"no instance type keeps {bounds}; the closest is {closest.instance_type.name}, "
        f"where {closest.reason}",
        remedy="Ask for longer times, shorter requests, or other machines (--cloud all)",
    )
    return InvalidInput([problem])


def _machines(offer: Offer) -> tuple[int, str]:
    return offer.machines, offer.instance_type.name


def _excess(offer: Offer) -> float:
    assert offer.speed is not None
    return offer.speed.excess


def _is_sound(offer: Offer) -> bool:
    return (
        offer.verdict is Verdict.FITS
        and offer.usd_per_hour is not None
        and not offer.instance_type.legacy
    )


def _rank_key(offer: Offer) -> tuple[bool, bool, bool, bool, float, str]:
    usd = offer.usd_per_hour
    return (
        usd is None,
        offer.instance_type.legacy,
        offer.verdict is not Verdict.FITS,
        not offer.whole_context,
        usd or 0.0,
        offer.instance_type.name,
    )


def _closeness(offer: Offer) -> tuple[bool, bool, str]:
    """Too slow or too many, too small, no engine."""
    return offer.plan is None, offer.binds == "engine", offer.instance_type.name
