"""The public face: HTTP, identity and the live stream."""
