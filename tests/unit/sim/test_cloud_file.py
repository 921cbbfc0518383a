"""What a scenario file says of the cloud, and how it is told when that cannot be."""

import textwrap
from pathlib import Path

import pytest

from kaito.adapters.fake.cloud_limits import AKS_OTHER_RATE, AKS_PUT_RATE, CloudLimits, Rate
from kaito.domain.errors import InvalidInput
from kaito.domain.machine_budget import MachineGuards
from kaito.domain.machine_limits import MachineLimits
from sim.cloud_file import CloudPart, GuardsPart
from sim.cloud_world import guards_of, limits_of, timeouts_of
from sim.loading import load
from sim.scenario import ChangeCloud, Scenario

A10 = "Standard_NV36ads_A10_v5"
WORKSPACE = """\
timeline:
  - apply:
      apiVersion: kaito.sh/v1beta1
      kind: Workspace
      metadata: {name: ws}
      resource:
        instanceType: Standard_NC24ads_A100_v4
        labelSelector: {matchLabels: {apps: ws}}
      inference:
        preset: {name: phi-4-mini-instruct}
"""


def read(folder: Path, text: str, steps: str = "") -> Scenario:
    file = folder / "main.yaml"
    file.write_text(textwrap.dedent(text) + WORKSPACE + textwrap.indent(steps, "  "))
    return load([str(file)])


def problems(folder: Path, text: str, steps: str = "") -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(folder, text, steps)
    return [str(one).replace(f"{folder}/", "") for one in caught.value.problems]


def test_without_a_cloud_nothing_is_limited(tmp_path: Path) -> None:
    world = read(tmp_path, "").world
    assert limits_of(world.cloud) == CloudLimits()
    assert not guards_of(world.guards, "eastus").limits_something


def test_limits(tmp_path: Path) -> None:
    text = f"""\
    cloud:
      quota: {{NVads_A10_v5: 72, spot: 36}}
      stock:
        - {{instance_type: {A10.lower()}, zone: 2, machines: 1}}
        - {{instance_type: Standard_NC24ads_A100_v4, machines: 0}}
      create_failure_rate: 0.1
      evictions_per_hour: 0.5
      machine_limit: 100
      throttling:
        put: {{burst: 2, per_minute: 6}}
    guards:
      max_machines: 3
      max_cost_per_hour: 12.5
    """
    world = read(tmp_path, text).world
    a100 = "standard_nc24ads_a100_v4"
    assert limits_of(world.cloud) == CloudLimits(
        quota_vcpus={"NVads_A10_v5": 72, "spot": 36},
        stock={(A10.lower(), 2): 1, (a100, 1): 0, (a100, 2): 0, (a100, 3): 0},
        machines=100,
        create_failure_rate=0.1,
        evictions_per_hour=0.5,
        put_rate=Rate(burst=2, per_second=0.1),
    )
    assert guards_of(world.guards, "eastus") == MachineGuards(
        max_machines=3, max_usd_per_hour=12.5, region="eastus"
    )


def test_throttling_as_aks_does_it() -> None:
    limits = limits_of(CloudPart(throttling="aks"))
    assert (limits.put_rate, limits.other_rate) == (AKS_PUT_RATE, AKS_OTHER_RATE)
    assert guards_of(GuardsPart(), "") == MachineGuards()


def test_a_change_over_time(tmp_path: Path) -> None:
    steps = """\
    - at: 10m
      cloud:
        lose_zone: {zone: 1, for: 30m}
        evict_spot: 0.5
    """
    (_, step) = read(tmp_path, "", textwrap.dedent(steps)).steps
    assert isinstance(step, ChangeCloud)
    assert step.at_s == 600.0
    assert step.change.lose_zone is not None
    assert (step.change.lose_zone.zone, step.change.lose_zone.for_s) == (1, 1800.0)
    assert step.change.evict_spot == 0.5
    assert step.change.quota is None


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    text = """\
    cloud:
      quota: {NVads_A10_v4: 72}
      stock: [{instance_type: Standard_NV36ads_A10_v4, machines: 1}]
    """
    quota, stock = problems(tmp_path, text)
    assert quota.startswith("main.yaml:1: cloud.quota: unknown family 'NVads_A10_v4'. Did you mean")
    assert stock.startswith("main.yaml:1: cloud.stock[0].instance_type: unknown instance type")
    steps = "- at: 1m\n  cloud:\n    quota: {what: 1}\n"
    (found,) = problems(tmp_path, "", steps)
    assert "unknown family 'what'" in found


def test_a_change_of_nothing(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "", "- at: 1m\n  cloud: {}\n")
    assert "changes nothing, got {}. Add one of quota, stock" in found


def test_what_is_out_of_range(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "cloud: {create_failure_rate: 2}\n")) == 1
    assert len(problems(tmp_path, "", "- at: 1m\n  cloud: {evict_spot: 1.5}\n")) == 1
    assert len(problems(tmp_path, "", "- cloud: {lose_zone: {zone: 4, for: 1m}}\n")) == 1


def test_time_outs_that_are_not_given_are_those_of_production(tmp_path: Path) -> None:
    assert timeouts_of(read(tmp_path, "").world.timeouts) == MachineLimits()
    text = """\
    timeouts: {launch: 90s, registration: 5m, initialization: 1h, unhealthy: 2m, drain: 30}
    """
    assert timeouts_of(read(tmp_path, text).world.timeouts) == MachineLimits(
        launch_s=90.0, register_s=300.0, initialize_s=3600.0, unhealthy_s=120.0, drain_s=30.0
    )
    assert timeouts_of(read(tmp_path, "timeouts: {drain: 1m}\n").world.timeouts) == MachineLimits(
        drain_s=60.0
    )


def test_time_outs_that_cannot_be(tmp_path: Path) -> None:
    assert problems(tmp_path, "timeouts: {launch: soon, drain: 0, wait: 1m}\n") == [
        "main.yaml:1: timeouts.launch: must be a length of time, got 'soon'. Write 90s, 5m, 1h30m "
        "or 2d; a plain number counts seconds",
        "main.yaml:1: timeouts.drain: Input should be greater than 0, got 0",
        "main.yaml:1: timeouts.wait: unknown key. Known: drain, initialization, launch, "
        "registration, unhealthy",
    ]
