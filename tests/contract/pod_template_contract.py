"""The contract of `WorkspaceStore` for pod templates of users' own: whatever they write, what is
stored is recognised as theirs, and nothing is written again and again."""

from typing import Any

from kaito.adapters.kube_api import SERVICE, STATEFUL_SET, WORKSPACE, thaw
from kaito.domain.cluster_view import WorkloadState
from tests.contract import kaito_v012 as kaito
from tests.contract.store_world import StoreWorld


def template(**server: Any) -> dict[str, Any]:
    """A template that the API server stores in other words."""
    container = {
        "name": "server",
        "image": "registry.test/server:1",
        "command": None,
        "args": [],
        "env": [{"name": "EMPTY", "value": ""}],
        "ports": [{"containerPort": 8000}],
        "resources": {
            "requests": {"cpu": "1000m", "memory": "1024Mi"},
            "limits": {"nvidia.com/gpu": 1},
        },
        "securityContext": {},
        **server,
    }
    return {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": ""}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "0.5Gi"}}],
            "nodeSelector": {},
            "affinity": None,
            "tolerations": [{"key": "mine", "operator": "Exists"}],
            "serviceAccount": "default",
        },
    }


def serving(**server: Any) -> dict[str, Any]:
    return {"inference": {"template": template(**server)}}


class PodTemplateContract:
    def test_it_is_recognised_and_not_written_again(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=serving()))
        assert world.workspaces.compare(workload).state is WorkloadState.MISSING
        world.workspaces.apply_workload(workload, replace=False)
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.differences) == (WorkloadState.SAME, ())
        before = world.kube.get(STATEFUL_SET, "phi")["metadata"]["resourceVersion"]
        world.workspaces.apply_workload(workload, replace=False)
        assert world.kube.get(STATEFUL_SET, "phi")["metadata"]["resourceVersion"] == before

    def test_nothing_of_the_users_is_lost(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=serving()))
        world.workspaces.apply_workload(workload, replace=False)
        pods = world.kube.get(STATEFUL_SET, "phi")["spec"]["template"]
        assert pods["metadata"]["labels"]["team"] == "a"
        assert [one["name"] for one in pods["spec"]["volumes"]] == ["cache"]
        assert {"key": "mine", "operator": "Exists"} in list(pods["spec"]["tolerations"])
        (port,) = world.kube.get(SERVICE, "phi")["spec"]["ports"]
        assert port["targetPort"] == 8000

    def test_a_change_is_rolled_out_in_place(self, world: StoreWorld) -> None:
        view = world.workspace(parts=serving())
        world.workspaces.apply_workload(world.workload(view), replace=False)
        uid = world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"]
        changed = template(env=[{"name": "EMPTY", "value": "no more"}])
        world.patch(WORKSPACE, "phi", {"inference": {"template": changed}})
        workload = world.workload(world.view())
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, False)
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        live = world.kube.get(STATEFUL_SET, "phi")
        assert live["metadata"]["uid"] == uid
        (server,) = live["spec"]["template"]["spec"]["containers"]
        assert server["env"][0]["value"] == "no more"

    def test_an_edit_by_hand_is_put_back(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=serving()))
        world.workspaces.apply_workload(workload, replace=False)
        live = thaw(world.kube.get(STATEFUL_SET, "phi"))
        live["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/other:1"
        world.kube.api.replace(STATEFUL_SET, live)
        assert world.workspaces.compare(workload).state is WorkloadState.DIFFERENT
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME

    def test_kaitos_is_kept_until_the_template_changes(self, world: StoreWorld) -> None:
        view = world.workspace(parts=serving())
        stored = world.kube.get(WORKSPACE, "phi")
        for service in kaito.services(stored):
            world.kube.api.create(SERVICE, service)
        body = kaito.stateful_set(stored)
        body["spec"]["template"]["spec"]["containers"] = template()["spec"]["containers"]
        before = world.kube.api.create(STATEFUL_SET, body)
        workload = world.workload(view)
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.to_adopt) == (WorkloadState.SAME, True)
        world.workspaces.adopt_workload(workload)
        after = world.kube.get(STATEFUL_SET, "phi")
        assert after["spec"] == before["spec"], "its pods run on"
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.to_adopt) == (WorkloadState.SAME, False)
        changed = template(image="registry.test/server:2")
        world.patch(WORKSPACE, "phi", {"inference": {"template": changed}})
        workload = world.workload(world.view())
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, False)
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        assert world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"] == after["metadata"]["uid"]
