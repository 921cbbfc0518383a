"""The index answers what asking every Node would."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.fake.node_fit import mismatch
from kaito.adapters.fake.node_index import NodeIndex
from kaito.adapters.kube_api import KubeObject, freeze

KEYS, VALUES = st.sampled_from(["apps", "zone"]), st.sampled_from(["a", "b"])
LABELS = st.dictionaries(KEYS, VALUES)
TAINTS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["sku", "node.kubernetes.io/not-ready"]),
            "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
        },
        optional={"value": st.sampled_from(["gpu", ""])},
    ),
    max_size=2,
)
NODE_PARTS = st.tuples(LABELS, TAINTS, st.booleans(), st.booleans())
EXPRESSION = st.fixed_dictionaries(
    {
        "key": KEYS,
        "operator": st.sampled_from(["In", "NotIn", "Exists"]),
        "values": st.lists(VALUES, min_size=1, max_size=2),
    }
)
TERM = st.fixed_dictionaries({"matchExpressions": st.lists(EXPRESSION, max_size=2)})
AFFINITY = st.fixed_dictionaries(
    {
        "nodeAffinity": st.fixed_dictionaries(
            {},
            optional={
                "requiredDuringSchedulingIgnoredDuringExecution": st.fixed_dictionaries(
                    {"nodeSelectorTerms": st.lists(TERM, max_size=2)}
                )
            },
        )
    }
)
TOLERATION = st.fixed_dictionaries(
    {}, optional={"key": st.just("sku"), "operator": st.just("Exists"), "value": st.just("gpu")}
)
POD_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "nodeSelector": LABELS,
        "affinity": AFFINITY,
        "tolerations": st.lists(TOLERATION, max_size=1),
    },
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["n0", "n1", "n2", "n3"]), st.none() | NODE_PARTS), max_size=8
)


def as_node(name: str, parts: tuple[dict[str, str], list[Any], bool, bool]) -> KubeObject:
    labels, taints, cordoned, ready = parts
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    found: KubeObject = freeze(
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints, "unschedulable": cordoned},
            "status": {"conditions": conditions},
        }
    )
    return found


@given(changes=CHANGES, spec=POD_SPEC)
def test_it_answers_as_if_each_node_were_asked(
    changes: list[tuple[str, Any]], spec: dict[str, Any]
) -> None:
    index, nodes = NodeIndex(), dict[str, KubeObject]()
    for name, parts in changes:
        if parts is None:
            index.remove(name)
            nodes.pop(name, None)
        else:
            nodes[name] = as_node(name, parts)
            index.put(nodes[name])
    pod: KubeObject = freeze({"metadata": {"name": "one"}, "spec": spec})
    said = {name: mismatch(pod, node) for name, node in nodes.items()}
    candidates = index.candidates(pod)
    assert len(index) == len(nodes)
    assert candidates == {name for name, reason in said.items() if not reason}
    assert index.reasons(pod, len(candidates)) == Counter(filter(None, said.values()))
