"""The twin's API server behind the real protocol: kubectl and client libraries talk to it."""
