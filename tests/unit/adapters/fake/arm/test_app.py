"""What every request goes through, and what ARM serves beside agent pools."""

from typing import Any

import pytest

from kaito.adapters.fake.arm.identity import ASSERTION_TYPE, Identity
from kaito.adapters.fake.cloud_limits import CloudLimits, Rate
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import NODE
from kaito.domain import labels, names
from kaito.domain.machine import MachineOrder, Owner
from tests.unit.adapters.fake.arm.conftest import ASSERTION, BASE, CLIENT_ID, SIZE, Arm


def code(response: Any) -> str:
    found = response.json()
    return str(found.get("error", found)["code"])


class TestSignIn:
    def test_what_a_client_library_asks_first(self, arm: Arm) -> None:
        path = f"/{arm.place.tenant}/v2.0/.well-known/openid-configuration"
        found = arm.call("GET", path).json()
        assert found["token_endpoint"] == f"{BASE}/{arm.place.tenant}/oauth2/v2.0/token"
        assert arm.call("GET", path.replace(arm.place.tenant, "other")).status_code == 400

    @pytest.mark.parametrize(
        ("form", "status", "number"),
        [
            ({"grant_type": "password"}, 400, 70003),
            ({"client_id": "nobody"}, 400, 700016),
            ({"client_secret": "wrong"}, 401, 7000215),
            ({"client_secret": ""}, 401, 7000215),
            ({"client_assertion": ASSERTION, "client_assertion_type": "other"}, 401, 700213),
            ({"client_assertion": "other", "client_assertion_type": ASSERTION_TYPE}, 401, 700213),
            ({"scope": "https://management.azure.com/read"}, 400, 70011),
        ],
    )
    def test_who_does_not_come_in(
        self, arm: Arm, form: dict[str, str], status: int, number: int
    ) -> None:
        answer = arm.sign_in(**form)
        assert answer.status_code == status
        assert answer.json()["error_codes"] == [number]
        assert "access_token" not in answer.json()

    def test_one_without_a_secret_has_none(self, arm: Arm) -> None:
        arm.front.entra.register(Identity(client_id=CLIENT_ID, assertion=ASSERTION))
        assert arm.sign_in(client_secret="").status_code == 401
        form = {"client_assertion": ASSERTION, "client_assertion_type": ASSERTION_TYPE}
        assert arm.sign_in(**form).status_code == 200


class TestAccess:
    def test_without_a_token(self, arm: Arm) -> None:
        answer = arm.call("GET", arm.pool(), headers={"Authorization": ""})
        assert (answer.status_code, code(answer)) == (401, "AuthenticationFailed")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")

    @pytest.mark.parametrize("given", ["Bearer nonsense", "Basic eA=="])
    def test_with_another(self, arm: Arm, given: str) -> None:
        answer = arm.call("GET", arm.pool(), headers={"Authorization": given})
        assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationToken")

    def test_with_one_for_something_else(self, arm: Arm) -> None:
        arm.token = arm.sign_in(scope="https://vault.azure.net/.default").json()["access_token"]
        answer = arm.call("GET", arm.pool())
        assert code(answer) == "InvalidAuthenticationTokenAudience"

    def test_for_an_hour(self, arm: Arm) -> None:
        assert arm.call("GET", arm.pool()).status_code == 404
        arm.now_s += 3599.0
        assert arm.call("GET", arm.pool()).status_code == 404
        arm.now_s += 1.0
        assert code(arm.call("GET", arm.pool())) == "ExpiredAuthenticationToken"

    def test_until_it_is_revoked(self, arm: Arm) -> None:
        assert arm.call("GET", arm.pool()).status_code == 404
        arm.front.entra.revoke_all()
        assert arm.call("GET", arm.pool()).status_code == 401

    def test_as_far_as_the_role_goes(self, arm: Arm) -> None:
        role = Identity(client_id=CLIENT_ID, secret="s-1", not_actions=("*/agentPools/DELETE",))
        arm.front.entra.register(role)
        assert arm.put().status_code == 201
        answer = arm.call("DELETE", arm.pool())
        assert (answer.status_code, code(answer)) == (403, "AuthorizationFailed")
        for scope in (arm.place.subscription_id, arm.place.group_id, arm.place.cluster_id):
            path = f"{scope}/providers/Microsoft.Authorization/permissions"
            (found,) = arm.call("GET", path, version="2022-04-01").json()["value"]
            assert found["actions"] == ["*"]
            assert found["notActions"] == ["*/agentPools/DELETE"]


class TestWhatThereIsNot:
    def test_a_path(self, arm: Arm) -> None:
        assert code(arm.call("GET", "/subscriptions/x/nothing")) == "InvalidResourceType"

    @pytest.mark.parametrize(
        ("version", "expected"),
        [
            ("", "MissingApiVersionParameter"),
            ("2026-13-01", "NoRegisteredProviderFound"),
            ("2030-01-01", "NoRegisteredProviderFound"),
            ("latest", "NoRegisteredProviderFound"),
        ],
    )
    def test_an_api_version(self, arm: Arm, version: str, expected: str) -> None:
        answer = arm.call("GET", arm.pool(), version=version)
        assert (answer.status_code, code(answer)) == (400, expected)

    def test_an_operation(self, arm: Arm) -> None:
        path = (
            f"{arm.place.subscription_id}/providers/Microsoft.ContainerService/locations/eastus"
            "/operations/nothing"
        )
        assert arm.call("GET", path).status_code == 404

    def test_a_place_in_a_list(self, arm: Arm) -> None:
        path = f"{arm.place.cluster_id}/agentPools"
        assert arm.call("GET", path, query={"$skipToken": "%%"}).status_code == 400


class TestRequests:
    @pytest.mark.parametrize("body", [None, [], {"properties": 7}])
    def test_a_body_that_is_no_pool(self, arm: Arm, body: Any) -> None:
        answer = arm.call("PUT", arm.pool(), body)
        assert (answer.status_code, code(answer)) == (400, "InvalidRequestContent")

    def test_reads_and_deletions_share_a_bucket(self) -> None:
        arm = Arm(CloudLimits(other_rate=Rate(burst=2, per_second=0.1)))
        arm.put()
        assert arm.call("GET", arm.pool()).status_code == 200
        assert arm.call("DELETE", arm.pool()).status_code == 202
        answer = arm.call("GET", f"{arm.place.cluster_id}/agentPools")
        assert (answer.status_code, code(answer)) == (429, "Throttled")
        assert answer.headers["Retry-After"] == "10"
        assert arm.put("ws2").status_code == 201

    def test_every_answer_has_an_id_of_its_own(self, arm: Arm) -> None:
        ids = {arm.call("GET", arm.pool()).headers["x-ms-request-id"] for _ in range(3)}
        assert len(ids) == 3


class TestOperations:
    def test_how_a_creation_goes(self, arm: Arm) -> None:
        answer = arm.put()
        assert answer.status_code == 201
        assert answer.headers["Retry-After"] == "10"
        assert "Location" not in answer.headers
        status = answer.headers["Azure-AsyncOperation"].removeprefix(BASE)
        begun = arm.call("GET", status, version="").json()
        assert begun["status"] == "InProgress"
        assert "endTime" not in begun
        arm.settle()
        ended = arm.call("GET", status, version="").json()
        assert ended["status"] == "Succeeded"
        assert ended["startTime"] < ended["endTime"]
        assert ended["name"] == begun["name"]

    def test_how_a_deletion_goes(self, arm: Arm) -> None:
        arm.put()
        arm.settle()
        answer = arm.call("DELETE", arm.pool())
        assert (answer.status_code, answer.content) == (202, b"")
        result = answer.headers["Location"].removeprefix(BASE)
        assert arm.call("GET", result, version="").status_code == 202
        arm.settle()
        assert arm.call("GET", result, version="").status_code == 204
        assert arm.call("GET", arm.pool()).status_code == 404
        assert arm.call("DELETE", arm.pool()).status_code == 204

    def test_what_happens_later_changes_nothing(self, arm: Arm) -> None:
        status = arm.put().headers["Azure-AsyncOperation"].removeprefix(BASE)
        arm.settle()
        arm.state()
        arm.call("DELETE", arm.pool())
        arm.settle()
        assert arm.call("GET", status, version="").json()["status"] == "Succeeded"


class TestPoolsOfOthers:
    @pytest.mark.parametrize(
        ("node_labels", "claim"),
        [
            ({labels.WORKSPACE_UID: "u-1", labels.SLOT: "1"}, names.machine_name("u-1", 1, 0)),
            ({labels.WORKSPACE_UID: "u-1", labels.SLOT: "x"}, "ws1"),
            ({"apps": "phi"}, "ws1"),
        ],
    )
    def test_whose_machine_it_is_stands_in_its_labels(
        self, arm: Arm, node_labels: dict[str, str], claim: str
    ) -> None:
        arm.put(nodeLabels=node_labels)
        assert arm.cloud.live["ws1"].order.claim_name == claim

    def test_a_machine_that_was_ordered_past_arm_is_a_pool(self, arm: Arm) -> None:
        owner = Owner(uid="u-1", namespace="default", name="phi")
        arm.cloud.launch(
            MachineOrder(
                name="ws9",
                claim_name="ws9",
                owner=owner,
                instance_type=SIZE,
                disk_bytes=100 << 30,
                labels={"apps": "phi"},
            )
        )
        properties = arm.call("GET", arm.pool("ws9")).json()["properties"]
        assert properties["osDiskSizeGB"] == 100
        assert properties["nodeLabels"] == {"apps": "phi"}
        assert properties["nodeTaints"] == ["sku=gpu:NoSchedule"]
        arm.settle()
        assert arm.state("ws9") == "Succeeded"
        arm.call("DELETE", arm.pool("ws9"))
        arm.settle()
        assert arm.store.list(NODE).items == ()

    def test_a_pool_whose_machine_is_gone_is_filled_by_the_same_put(self, arm: Arm) -> None:
        arm.put(scaleSetPriority="Spot")
        arm.settle()
        arm.cloud.evict_spot(1.0)
        arm.settle()
        assert arm.call("GET", arm.pool()).json()["properties"]["count"] == 0
        assert arm.put(scaleSetPriority="Spot").status_code == 200
        arm.settle()
        assert arm.call("GET", arm.pool()).json()["properties"]["count"] == 1

    def test_empty_pools_count(self, arm: Arm) -> None:
        arm.cloud.change_limits(CloudLimits(machines=1), {"machines"})
        arm.put(scaleSetPriority="Spot")
        arm.settle()
        arm.cloud.evict_spot(1.0)
        arm.settle()
        assert arm.put("ws2").status_code == 400


class TestCompute:
    def test_usages(self, arm: Arm) -> None:
        arm.cloud.change_limits(
            CloudLimits(quota_vcpus={"NCads_A100_v4": 48, "spot": 96}), {"quota_vcpus"}
        )
        arm.put()
        arm.put("ws2", scaleSetPriority="Spot")
        path = f"{arm.place.subscription_id}/providers/Microsoft.Compute/locations/eastus/usages"
        found = {
            one["name"]["value"]: (one["currentValue"], one["limit"])
            for one in arm.call("GET", path, version="2024-07-01").json()["value"]
        }
        assert found["standardNCADSA100v4Family"] == (24, 48)
        assert found["lowPriorityCores"] == (24, 96)
        assert found["cores"][0] == 24
        assert arm.call("GET", path.replace("eastus", "westus")).status_code == 400

    def test_skus(self, arm: Arm) -> None:
        restricted = frozenset({(SIZE.lower(), 1)} | {("standard_nc6s_v3", z) for z in (1, 2, 3)})
        arm.cloud.change_limits(CloudLimits(restricted=restricted), {"restricted"})
        path = f"{arm.place.subscription_id}/providers/Microsoft.Compute/skus"
        asked = {"$filter": "location eq 'eastus'"}
        found = {
            one["name"]: one
            for one in arm.call("GET", path, version="2021-07-01", query=asked).json()["value"]
        }
        size = found[SIZE]
        assert size["family"] == "standardNCADSA100v4Family"
        assert {"name": "vCPUs", "value": "24"} in size["capabilities"]
        assert {"name": "GPUs", "value": "1"} in size["capabilities"]
        assert size["restrictions"][0]["type"] == "Zone"
        assert size["restrictions"][0]["restrictionInfo"]["zones"] == ["1"]
        assert found["Standard_NC6s_v3"]["restrictions"][0]["type"] == "Location"
        assert found["Standard_NC40ads_H100_v5"]["restrictions"] == []
        elsewhere = {"$filter": "location eq 'westus'"}
        assert arm.call("GET", path, query=elsewhere).json() == {"value": []}

    def test_a_size_that_is_restricted_everywhere(self, arm: Arm) -> None:
        restricted = frozenset((SIZE.lower(), zone) for zone in (1, 2, 3))
        arm.cloud.change_limits(CloudLimits(restricted=restricted), {"restricted"})
        assert code(arm.put()) == "SkuNotAvailable"
        some = frozenset((SIZE.lower(), zone) for zone in (1, 2))
        arm.cloud.change_limits(CloudLimits(restricted=some), {"restricted"})
        arm.put()
        assert arm.cloud.live["ws1"].zone == "eastus-3"


class TestPrices:
    def _ask(self, arm: Arm, passing: str) -> Any:
        return arm.call("GET", "/api/retail/prices", query={"$filter": passing})

    def test_of_one_size(self, arm: Arm) -> None:
        wanted = (
            "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and "
            f"armRegionName eq 'eastus' and armSkuName eq '{SIZE}'"
        )
        found = self._ask(arm, wanted).json()
        assert found["NextPageLink"] is None
        prices = {one["skuName"]: one["retailPrice"] for one in found["Items"]}
        known = load_catalogue().instance_type(SIZE).prices["eastus"]
        assert prices == {
            "NC24ads A100 v4": known.on_demand_usd_per_hour,
            "NC24ads A100 v4 Spot": known.spot_usd_per_hour,
        }

    @pytest.mark.parametrize(
        ("passing", "count"),
        [
            (f"contains(armSkuName, 'A100') and armSkuName ne '{SIZE}'", False),
            (f"(armSkuName eq '{SIZE}' or armSkuName eq 'x') and armRegionName eq 'eastus'", True),
            (f"armSkuName eq '{SIZE}' and armRegionName eq 'x'", None),
            ("isPrimaryMeterRegion eq false", None),
        ],
    )
    def test_what_a_filter_lets_through(self, arm: Arm, passing: str, count: bool | None) -> None:
        """Only this size, none of this size, or nothing at all."""
        names = {one["armSkuName"] for one in self._ask(arm, passing).json()["Items"]}
        assert (names == {SIZE}) is (count is True)
        assert bool(names) is (count is not None)
        assert (SIZE in names) is (count is True)

    def test_page_by_page(self, arm: Arm) -> None:
        whole = self._ask(arm, "").json()["Items"]
        arm.front.price_page_size = 100
        found, answer = [], self._ask(arm, "").json()
        while True:
            found += answer["Items"]
            if answer["NextPageLink"] is None:
                break
            path, _, query = answer["NextPageLink"].removeprefix(BASE).partition("?")
            pairs = dict(part.split("=") for part in query.split("&") if "=" in part)
            skip = pairs.get("$skip") or pairs["%24skip"]
            answer = arm.call("GET", path, query={"$skip": skip}).json()
        assert found == whole
        assert len(whole) > 100

    @pytest.mark.parametrize("bad", ["a eq", "a like 'b'", "(a eq 'b'", "a eq 'b' x", "a eq 'b"])
    def test_a_filter_that_makes_no_sense(self, arm: Arm, bad: str) -> None:
        assert self._ask(arm, bad).status_code == 400


class TestStop:
    def test_what_is_done_already_is_done(self, arm: Arm) -> None:
        arm.put()
        arm.settle()
        for verb in ("start", "stop"):
            arm.call("POST", f"{arm.place.cluster_id}/{verb}")
            arm.now_s += 100.0
        assert arm.call("POST", f"{arm.place.cluster_id}/stop").status_code == 202
        assert arm.store.list(NODE).items == ()

    def test_what_is_on_its_way_is_made_after_the_start(self, arm: Arm) -> None:
        arm.put()
        assert arm.call("POST", f"{arm.place.cluster_id}/stop").status_code == 202
        assert code(arm.call("POST", f"{arm.place.cluster_id}/start")) == "OperationNotAllowed"
        assert "Stopping" in arm.put("ws2").text
        arm.settle()
        arm.now_s += 100.0
        assert arm.state() == "Creating"
        assert "Stopped" in arm.put("ws2").text
        assert arm.call("POST", f"{arm.place.cluster_id}/start").status_code == 202
        arm.settle()
        assert arm.state() == "Succeeded"

    def test_stopped_machines_cost_nothing(self, arm: Arm) -> None:
        arm.put()
        arm.settle()
        life = arm.cloud.live["ws1"]
        arm.call("POST", f"{arm.place.cluster_id}/stop")
        before = life.cost_usd("eastus", arm.now_s)
        arm.now_s += 86_400.0
        assert life.cost_usd("eastus", arm.now_s) == pytest.approx(before)
        arm.token = ""  # the old one is no longer good
        arm.call("POST", f"{arm.place.cluster_id}/start")
        assert life.cost_usd("eastus", arm.now_s) == pytest.approx(before)
        assert "Starting" in arm.put("ws2").text
        arm.settle()
        assert life.cost_usd("eastus", arm.now_s) > before
