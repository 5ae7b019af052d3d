"""STUN and TURN on the wire (RFC 8489, RFC 8656): messages, attributes, integrity, ChannelData, framing. Pure."""

__all__: list[str] = []
