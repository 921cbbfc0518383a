"""The twin's GPU cloud behind Azure Resource Manager: AKS agent pools, quotas, SKUs, prices."""
