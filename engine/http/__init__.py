"""HTTP adapter over the service: the API for programs and for the web UI."""
