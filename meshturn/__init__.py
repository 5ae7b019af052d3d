"""meshturn: a STUN and TURN server in pure-asyncio Python, with signaling and a call page in the same process.

What this package offers is the public API. Importing it is cheap: `meshturn --version` passes through here, and must
not wait for the whole server to load.
"""

from turnserver import __version__

__all__ = ["__version__"]
