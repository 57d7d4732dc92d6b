"""Recorded traffic of real providers, played back over real sockets through a live gateway."""
