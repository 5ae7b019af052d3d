"""The media tier: a selective forwarding unit (SFU), through which rooms go that are too large for a mesh.

Sans-IO, but for the socket and the processes around it: datagrams and the time in, datagrams and facts out.
"""

__all__: list[str] = []
