"""Machines on Azure Kubernetes Service: each is an agent pool with one node."""
