"""The flags of `kaito operator run --provisioner aks` and of `kaito azure check`.

The variables without KAITO_ are those of Azure's gpu-provisioner and of AKS's workload identity, so
that the environment of a Deployment of theirs can stay as it is.
"""

from pathlib import Path
from typing import Annotated

import typer

SubscriptionOption = Annotated[
    str,
    typer.Option(
        envvar="ARM_SUBSCRIPTION_ID",
        help="The subscription of the AKS cluster, a GUID.",
    ),
]
ResourceGroupOption = Annotated[
    str,
    typer.Option(
        envvar="ARM_RESOURCE_GROUP",
        help="The cluster's resource group, not that of its nodes (MC_...).",
    ),
]
ClusterOption = Annotated[
    str,
    typer.Option(envvar="AZURE_CLUSTER_NAME", help="The cluster's name in Azure."),
]
LocationOption = Annotated[
    str,
    typer.Option(envvar="LOCATION", help="The cluster's location, such as eastus."),
]
TenantOption = Annotated[
    str,
    typer.Option(
        envvar="AZURE_TENANT_ID",
        help="Tenant of kaito's identity; AKS's workload identity sets the variable.",
    ),
]
ClientOption = Annotated[
    str,
    typer.Option(
        envvar="AZURE_CLIENT_ID",
        help="Client id of kaito's identity; AKS's workload identity sets the variable.",
    ),
]
CredentialOption = Annotated[
    str,
    typer.Option(
        envvar="KAITO_AZURE_CREDENTIAL",
        help="workload-identity, managed-identity, service-principal (AZURE_CLIENT_SECRET or "
        "AZURE_CLIENT_CERTIFICATE_PATH), cli (as `az login` left it), or auto: the first of them "
        "that is set up.",
    ),
]
ZonesOption = Annotated[
    str,
    typer.Option(
        envvar="KAITO_AZURE_ZONES",
        help="Zones to spread machines over, such as 1,2,3; a machine that one of them has not is "
        "asked for in another. Empty: Azure chooses.",
    ),
]
SubnetOption = Annotated[
    str,
    typer.Option(
        envvar="KAITO_AZURE_SUBNET_ID",
        help="Resource id of the subnet for machines. Empty: that of the cluster's other pools, if "
        "they are all in one.",
    ),
]
SpotPriceOption = Annotated[
    float | None,
    typer.Option(
        envvar="KAITO_AZURE_SPOT_MAX_PRICE",
        help="US dollars per hour that a spot machine may cost. Without it: up to the price on "
        "demand.",
    ),
]
PutRateOption = Annotated[
    str,
    typer.Option(
        metavar="BURST,PER_MINUTE",
        envvar="KAITO_AZURE_PUT_RATE",
        help="How often one agent pool may be written: so many requests at once, and so many more "
        "a minute. AKS's own limit.",
    ),
]
OtherRateOption = Annotated[
    str,
    typer.Option(
        metavar="BURST,PER_MINUTE",
        envvar="KAITO_AZURE_OTHER_RATE",
        help="The same of all other requests together. Less leaves some of AKS's limit to others "
        "of the subscription.",
    ),
]
EndpointOption = Annotated[
    str,
    typer.Option(
        envvar="KAITO_AZURE_ARM_ENDPOINT",
        help="Azure Resource Manager, where it is not that of the public cloud.",
    ),
]
CaFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="KAITO_AZURE_CA_FILE",
        help="PEM file of CAs to trust for calls to Azure, instead of the usual ones.",
    ),
]
