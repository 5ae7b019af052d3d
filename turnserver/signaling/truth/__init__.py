"""What the relay knows of a call: relayed pairs, their traffic, and why a connection failed. Pure."""

__all__: list[str] = []
