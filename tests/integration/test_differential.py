"""Random programs on the twin's object store and on a real API server: every answer is the same.

A failure prints the program, one step a line, shortened. To run it again, put it in a file:

    KAITO_DIFFERENTIAL_PROGRAM=FILE pytest tests/integration/test_differential.py

KAITO_DIFFERENTIAL_SEED=N (or FIRST-LAST) runs other programs than the usual ones.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.kube_api import NAMESPACE, KubeObject
from tests.integration.conftest import RealCluster, missing_backend, shipped_crds
from tests.integration.differential.known_differences import KNOWN
from tests.integration.differential.programs import Theme, program_of
from tests.integration.differential.runner import (
    CATEGORIES,
    Failure,
    Sides,
    Tally,
    run,
    shortened,
)
from tests.integration.differential.servers import Real, Twin
from tests.integration.differential.side import Side
from tests.integration.differential.steps import Program, read_program

_AT_LEAST: Final = 100
_PROGRAMS: Final[tuple[tuple[Theme, range], ...]] = (
    ("calls", range(32)),
    ("collection", range(10)),
    ("history", range(10)),
)
_QUICK_S: Final = 2.0


@dataclass
class Differential:
    """Both servers, and what all programs so far came across."""

    real: Real
    crds: Sequence[KubeObject]
    tally: Tally = field(default_factory=Tally)

    def check(self, program: Program) -> None:
        """Run a program; if the servers differ, fail with a short one that shows it."""
        failure = run(program, self._sides(), self.tally)
        if failure is not None:
            pytest.fail(shortened(failure, self._again).text(), pytrace=False)

    def _again(self, program: Program) -> Failure | None:
        return run(program, self._sides(), Tally(), patience_s=_QUICK_S)

    def _sides(self) -> Sides:
        """The real server without what programs left, and a new twin."""
        self.real.clear()
        home, other = self.real.home, self.real.other
        places = {"home": home, "other": other, "absent": f"{home}-absent"}
        return Side(self.real, places), Side(Twin(self.crds, (home, other)), places)


@pytest.fixture
def differential(
    real_cluster: RealCluster, real_api: KubernetesClientApi, namespace: str
) -> Iterator[Differential]:
    if real_cluster.plane is None:
        pytest.skip("somebody else's etcd is not compacted, nor are their versions known")
    if not real_cluster.collects_garbage:
        missing_backend("no kube-controller-manager beside the API server: nothing collects")
    other = f"{namespace}-other"
    real_api.create(NAMESPACE, {"metadata": {"name": other}})
    made = Differential(Real(real_api, real_cluster.plane, namespace, other), shipped_crds())
    yield made
    made.real.clear()
    real_api.delete(NAMESPACE, other)


def _programs() -> Iterator[Program]:
    first, _dash, last = os.environ.get("KAITO_DIFFERENTIAL_SEED", "").partition("-")
    for theme, usual in _PROGRAMS:
        seeds = range(int(first), int(last or first) + 1) if first else usual
        for seed in seeds:
            yield program_of(theme, seed)


def test_twin_and_real_server_agree(
    differential: Differential, record_property: Callable[[str, object], None]
) -> None:
    file = os.environ.get("KAITO_DIFFERENTIAL_PROGRAM")
    if file:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        differential.check(read_program(file, lines))
        return
    for program in _programs():
        differential.check(program)
    tally = differential.tally
    hits = ", ".join(f"{tally.hits[name]} {name}" for name in CATEGORIES)
    record_property("measured", f"twin and real server, {tally.steps} steps alike: {hits}")
    if "KAITO_DIFFERENTIAL_SEED" in os.environ:
        return
    rare = {name: tally.hits[name] for name in CATEGORIES if tally.hits[name] < _AT_LEAST}
    assert not rare, "the programs come across these too rarely"
    unseen = [entry.name for entry in KNOWN if not tally.known[entry.name]]
    assert not unseen, "known differences that are none any more"
