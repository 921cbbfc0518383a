"""The domain's rules that a CRD can state itself: CEL in `x-kubernetes-validations`.

Kubernetes 1.25 and newer enforce them without a webhook; older servers drop them. A rule in a CRD
is also asked about objects that were stored before it, and an object that breaks one could not
even lose its finalizer. So there are two sorts only:

- what may not be changed compares with `oldSelf`: a write that leaves the field alone passes;
- what must hold in a new object is asked until the object has a status. The server drops the
  status of an object that is created, and one that is written later ends the asking.

Servers refuse rules that might cost too much. These compare whole values, and one of them goes
through a list. `messageExpression` (1.27) and `fieldPath` (1.28) are dropped by older servers.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from kaito.domain.validation import MAX_ADAPTERS, MAX_SERVED_NAME_CHARS

Rule: TypeAlias = dict[str, Any]

_MAX_NAME_CHARS: Final = 63
_REMADE: Final = ". Delete the Workspace and make a new one"


def rules() -> Mapping[str, list[Rule]]:
    """Dotted path of a field ("" is the whole object) -> its `x-kubernetes-validations`."""
    new = [*_mode(), *_names(), *_inference(), *_tuning(), *_input(), *_output()]
    return {
        "": [*_fixed_mode(), *new],
        "resource": _fixed_resource(),
        "inference": _fixed_template(),
        "inference.preset.name": [_unchanged("{0}")],
        "tuning.preset.name": [_unchanged("{0}")],
        "tuning.method": [_unchanged("{0}.lowerAscii()")],
    }


def _fixed_mode() -> list[Rule]:
    return [
        _rule(f"has(self.{mode}) == has(oldSelf.{mode})", f"cannot be changed{_REMADE}", field=mode)
        for mode in ("inference", "tuning")
    ]


def _fixed_template() -> list[Rule]:
    return [
        _rule(
            "has(self.template) == has(oldSelf.template)",
            f"cannot be changed{_REMADE}",
            field="template",
        )
    ]


def _fixed_resource() -> list[Rule]:
    mine, before = (f"{one}.labelSelector.matchLabels" for one in ("self", "oldSelf"))
    none = f"(!has({mine}) || size({mine}) == 0) && (!has({before}) || size({before}) == 0)"
    return [
        _unchanged("(has({0}.instanceType) ? {0}.instanceType : '')", field="instanceType"),
        _rule(
            "(has(self.count) ? self.count : 1) == (has(oldSelf.count) ? oldSelf.count : 1)",
            f"cannot be changed{_REMADE}",
            field="count",
        ),
        _rule(
            f"has({mine}) && has({before}) ? {mine} == {before} : {none}",
            f"cannot be changed{_REMADE}",
            field="labelSelector.matchLabels",
        ),
    ]


def _mode() -> list[Rule]:
    return [
        _new(
            "has(self.inference) || has(self.tuning)",
            "neither inference nor tuning is given. Give exactly one of them",
            field="inference",
        ),
        _new(
            "!has(self.inference) || !has(self.tuning)",
            "both inference and tuning are given. Give exactly one of them, and make a second "
            "Workspace for the other",
            field="inference",
        ),
    ]


def _names() -> list[Rule]:
    """The server has seen to it that a name is a DNS subdomain. A field path into the metadata
    would be refused: the schema does not describe them."""
    name = "self.metadata.name"
    return [
        _new(
            f"size({name}) <= {_MAX_NAME_CHARS} && !{name}.contains('.')",
            detail=f'"\'" + {name} + "\' "',
            after=f"is not a DNS label. Use at most {_MAX_NAME_CHARS} lower-case letters, digits "
            "and '-', starting and ending with a letter or digit",
        ),
        _new(
            f"!has(self.inference) || size({name}) <= {MAX_SERVED_NAME_CHARS} && "
            f"{name}.matches('^[a-z]')",
            detail=f'"\'" + {name} + "\' "',
            after="cannot name a StatefulSet and a Service. Use at most "
            f"{MAX_SERVED_NAME_CHARS} characters, the first of them a letter",
        ),
    ]


def _inference() -> list[Rule]:
    part, adapters = "self.inference", "self.inference.adapters"
    unless = f"!has({part}) || "
    given = "(has(one.source.image) && one.source.image != '')"
    urls = "has(one.source.urls) && size(one.source.urls) > 0"  # the webhook says more about them
    return [
        _new(
            f"{unless}!has({part}.preset) || !has({part}.template)",
            "and inference.preset are both given. Give exactly one of them",
            field="inference.template",
        ),
        _new(
            f"{unless}has({part}.preset) || has({part}.template)",
            "is required. Name a model, such as preset: {name: phi-3-mini-4k-instruct}",
            field="inference.preset",
        ),
        _new(
            f"{unless}!has({adapters}) || size({adapters}) <= {MAX_ADAPTERS}",
            f"at most {MAX_ADAPTERS} adapters are possible",
            field="inference.adapters",
        ),
        _new(
            f"{unless}!has({adapters}) || "
            f"{adapters}.all(one, {urls} || {given} != has(one.source.volumeSource))",
            "source needs exactly one of image and volumeSource",
            field="inference.adapters",
        ),
    ]


def _tuning() -> list[Rule]:
    part, count = "self.tuning", "self.resource.count"
    unless = f"!has({part}) || "
    method = f"(has({part}.method) ? {part}.method : '')"
    return [
        _new(
            f"{unless}has({part}.preset)",
            "is required. Name a model, such as preset: {name: phi-3-mini-128k-instruct}",
            field="tuning.preset",
        ),
        _new(
            f"{unless}{method}.lowerAscii() in ['lora', 'qlora']",
            "must be lora or qlora",
            detail=f'", got \'" + {method} + "\'"',
            field="tuning",
        ),
        _new(
            f"{unless}!has({count}) || {count} <= 1",
            "tuning runs on one machine. Remove it, or choose an instance type with more GPUs",
            field="resource.count",
        ),
    ]


def _input() -> list[Rule]:
    part = "self.tuning.input"
    kinds = (
        f"(has({part}.urls) && size({part}.urls) > 0 ? 1 : 0)"
        f" + (has({part}.image) && {part}.image != '' ? 1 : 0)"
        f" + (has({part}.volumeSource) ? 1 : 0)"
    )
    return [
        _new(
            f"!has(self.tuning) || has({part})",
            "is required. Name the data set: urls or image",
            field="tuning.input",
        ),
        _new(
            f"!has(self.tuning) || !has({part}) || {kinds} == 1",
            "needs exactly one of urls, image and volumeSource",
            field="tuning.input",
        ),
    ]


def _output() -> list[Rule]:
    part = "self.tuning.output"
    image = f"(has({part}.image) && {part}.image != '')"
    kinds = f"({image} ? 1 : 0) + (has({part}.volumeSource) ? 1 : 0)"
    secret = f"(has({part}.imagePushSecret) && {part}.imagePushSecret != '')"
    unless = f"!has(self.tuning) || !has({part}) || "
    return [
        _new(
            f"!has(self.tuning) || has({part})",
            "is required. Say where the result goes: image",
            field="tuning.output",
        ),
        _new(
            f"{unless}{kinds} == 1",
            "needs exactly one of image and volumeSource",
            field="tuning.output",
        ),
        _new(
            f"{unless}!{image} || {secret}",
            "is required with tuning.output.image. Name a Secret of type "
            "kubernetes.io/dockerconfigjson",
            field="tuning.output.imagePushSecret",
        ),
    ]


def _unchanged(value: str, *, field: str = "") -> Rule:
    """`value`, CEL with {0} for the part that the rule belongs to, gives a text.

    A number has no place in a message: to CEL's estimate of costs, `string()` of one may be of any
    length, and the API server refuses the CRD (kubernetes/kubernetes#124234).
    """
    mine, before = value.format("self"), value.format("oldSelf")
    first, second, last = (json.dumps(text) for text in (", from '", "' to '", "'"))
    return _rule(
        f"{mine} == {before}",
        "cannot be changed",
        detail=f"{first} + {before} + {second} + {mine} + {last}",
        after=_REMADE,
        field=field,
    )


def _new(rule: str, before: str = "", **more: str) -> Rule:
    return _rule(f"has(self.status) || ({rule})", before, **more)


def _rule(
    rule: str, before: str = "", *, detail: str = "", after: str = "", field: str = ""
) -> Rule:
    """The message is `before` and `after`, and between them what `detail`, CEL, tells of values."""
    made = {"rule": rule, "message": before + after}
    if detail:
        parts = [json.dumps(text) if text else "" for text in (before, after)]
        made["messageExpression"] = " + ".join(
            part for part in (parts[0], detail, parts[1]) if part
        )
    if field:
        made["fieldPath"] = f".{field}"
    return made
