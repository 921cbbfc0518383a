"""Which Kubernetes the twin stands in for: what its API server and its nodes say of themselves."""

from typing import Final

VERSION: Final = "1.36.0"
