"""The public face: HTTP, identity and the live stream."""

__version__ = "0.1.0"
