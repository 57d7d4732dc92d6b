"""sidecar: a declarative LLM gateway that runs beside one app."""

__version__ = "0.1.0"
