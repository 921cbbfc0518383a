"""Ports made real: Kubernetes, clouds, files, and the twin's fakes."""
