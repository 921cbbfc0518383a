"""The domain's cluster port over a Kubernetes API."""
