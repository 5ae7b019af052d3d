"""How relayed packets move: the datapaths (null, asyncio sockets), TCP peers (RFC 6062) and ICMP errors."""

__all__: list[str] = []
