"""The sans-IO TURN server core: bytes and the time in, commands and events out (RFC 8656).

`turnserver.core.server.TurnCore` is the way in. Nothing below this package opens a socket, reads a clock or draws a
random number of its own: all three are arguments, which is why every rule here is tested without any of them.
"""

__all__: list[str] = []
