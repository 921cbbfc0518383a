"""From a Workspace, and the Nodes that its user brings, to what is wanted: the fit and the
workload, or why there is none."""

from dataclasses import dataclass, replace
from typing import Final

from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.cluster_view import ConfigView
from kaito.domain.engine import NoEngine
from kaito.domain.errors import InvalidConfig, InvalidInput, Problem
from kaito.domain.fit import DoesNotFit
from kaito.domain.gpu import InstanceType
from kaito.domain.machine_policy import MachinePolicy, fallback_problems, policy_of
from kaito.domain.own_nodes import OwnNodes
from kaito.domain.provisioner import Provisioner
from kaito.domain.template_sizing import AnySizing, TemplateSizing, size_workspace
from kaito.domain.template_workload import workload_of
from kaito.domain.validation import broken_rules, fit_problems
from kaito.domain.weights_volume import LocalDisks
from kaito.domain.workload import Workload
from kaito.domain.workspace import Workspace

NO_LOCAL_DISKS: Final = LocalDisks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the model fits, and the workload that follows from it.

    `policy` is what may be bought for it; None where users bring Nodes. `provisional`: which of
    several instance types it will run on is not known yet, and it is sized for the first.
    """

    sizing: AnySizing
    workload: Workload
    policy: MachinePolicy | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nothing can be planned for this Workspace until a human changes something, or Nodes
    that users bring can be used."""

    reason: str
    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        return "; ".join(str(problem) for problem in self.problems)


# Of KAITO's chart, which holds its defaults: where there is none of that name, kaito's are meant.
# Source: kaito-project/kaito@056b8280b charts/kaito/workspace/templates/*-params*.yaml.
SHIPPED_CONFIGS: Final = frozenset(
    {"inference-params-template", "lora-params-template", "qlora-params-template"}
)


def decide(
    workspace: Workspace,
    catalogue: Catalogue,
    config: ConfigView | None,
    own: OwnNodes | None = None,
    bought: str = "",
    disks: LocalDisks = NO_LOCAL_DISKS,
) -> Wanted | Refusal:
    """What the Workspace asks for. `config` is the ConfigMap it names, None if it names none;
    `own` are the Nodes that it is sized for, None where machines are ordered. `bought` is the
    instance type of the machine that it has got, empty for none. `disks` are for its weights; those
    of Nodes that users bring are not used."""
    workspace, config = _without_shipped(workspace, config)
    provisioner = Provisioner.KARPENTER if own is None else Provisioner.BYO
    problems = broken_rules(workspace, catalogue, provisioner)
    if problems:
        return Refusal(reason="InvalidSpec", problems=tuple(problems))
    shape = own.shape if own is not None else None
    if own is not None and shape is None:
        return Refusal(reason=own.missing.reason, problems=(own.missing.problem,))
    if config is not None and config.problem:
        reason = "ConfigMapNotFound" if config.missing else "ConfigMapInvalid"
        mode = "inference" if workspace.inference else "tuning"
        rule = "config-missing" if config.missing else "config-readable"
        problem = Problem(field=f"{mode}.config", message=config.problem, rule=rule)
        return Refusal(reason=reason, problems=(problem,))
    values = config.values if config else None
    policy = policy_of(workspace, catalogue) if shape is None else None
    here = shape.instance_type if shape is not None else None
    try:
        sizing = size_workspace(workspace, catalogue, values, here)
    except (DoesNotFit, NoEngine, InvalidInput) as error:
        found = fit_problems(workspace, catalogue, values, error, here)
        return Refusal(reason=_reason(error), problems=found)
    if policy is None:
        return Wanted(sizing=sizing, workload=workload_of(workspace, sizing, config, shape))
    if policy.fallbacks:
        unfit = tuple(fallback_problems(workspace, catalogue, values, sizing))
        if unfit:
            return Refusal(reason="ModelDoesNotFit", problems=unfit)
    other = _bought_instead(policy, catalogue, bought)
    if other is not None:
        try:
            sizing = size_workspace(workspace, catalogue, values, other)
        except (DoesNotFit, NoEngine, InvalidInput) as error:
            found = fit_problems(workspace, catalogue, values, error, other)
            return Refusal(reason=_reason(error), problems=found)
    sizing = _with_disks(sizing, policy, disks)
    return Wanted(
        sizing=sizing,
        workload=workload_of(workspace, sizing, config),
        policy=policy,
        provisional=bool(policy.fallbacks) and not bought,
    )


def _without_shipped(
    workspace: Workspace, config: ConfigView | None
) -> tuple[Workspace, ConfigView | None]:
    if config is None or not config.missing or config.name not in SHIPPED_CONFIGS:
        return workspace, config
    update: dict[str, object] = {}
    if workspace.inference is not None:
        update["inference"] = workspace.inference.model_copy(update={"config": ""})
    if workspace.tuning is not None:
        update["tuning"] = workspace.tuning.model_copy(update={"config": ""})
    return workspace.model_copy(update=update), None


def _with_disks(sizing: AnySizing, policy: MachinePolicy, disks: LocalDisks) -> AnySizing:
    """Before a machine is ordered any of the offers may be bought; then it is known which was."""
    if isinstance(sizing, TemplateSizing):
        return sizing
    offered = (policy.instance_type, *policy.fallbacks)
    chosen = disks.chosen((sizing.instance_type,) if disks.bought else offered)
    return replace(sizing, weights_class=chosen)


def _bought_instead(
    policy: MachinePolicy, catalogue: Catalogue, bought: str
) -> InstanceType | None:
    """The instance type that was bought in the place of the first, if one was. It stays for as
    long as its machine does, whatever may be bought by now."""
    if not bought or bought.casefold() == policy.instance_type.name.casefold():
        return None
    try:
        return catalogue.instance_type(bought)
    except UnknownInstanceType:
        return None


def name_taken(taken: str) -> Refusal:
    """The workload cannot be made: `taken`, somebody else's, stands where it should."""
    problem = Problem(
        field="metadata.name",
        message=f"{taken} exists and does not belong to this Workspace",
        remedy="Delete it, or give the Workspace another name",
        rule="name-taken",
    )
    return Refusal(reason="NameTaken", problems=(problem,))


def _reason(error: DoesNotFit | NoEngine | InvalidInput) -> str:
    if isinstance(error, DoesNotFit):
        return "ModelDoesNotFit"
    return "ConfigMapInvalid" if isinstance(error, InvalidConfig) else "InvalidSpec"
