"""The twin's world: stand-ins for the API server, the kubelet, the cloud and the engine."""
