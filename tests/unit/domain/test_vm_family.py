import pytest

from kaito.domain.vm_family import vm_family


@pytest.mark.parametrize(
    ("size", "family"),
    [
        ("Standard_NC24ads_A100_v4", "NCads_A100_v4"),
        ("Standard_NC96ads_A100_v4", "NCads_A100_v4"),
        ("Standard_NV36ads_A10_v5", "NVads_A10_v5"),
        ("Standard_NC6s_v3", "NCs_v3"),
        ("Standard_NC24rs_v3", "NCs_v3"),
        ("Standard_NC80adis_H100_v5", "NCads_H100_v5"),
        ("Standard_ND96isr_H100_v5", "NDs_H100_v5"),
        ("standard_nc24ads_A100_v4", "NCads_A100_v4"),
        ("Standard_E64-16s_v3", "Es_v3"),
        ("p4d.24xlarge", "p4d.24xlarge"),
    ],
)
def test_the_sizes_of_a_series_share_a_quota(size: str, family: str) -> None:
    assert vm_family(size) == family
