"""NAT behavior discovery (RFC 5780) without input or output: which NAT is between a client and a STUN server."""

__all__: list[str] = []
