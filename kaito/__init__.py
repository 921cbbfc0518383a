"""Kubernetes operator that turns a short manifest into a served or fine-tuned language model."""

__version__ = "0.1.0"
