"""The digital twin: takes manifests and scenarios from apply to READY in virtual time."""
