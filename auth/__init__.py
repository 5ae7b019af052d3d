"""Who may relay: long-term keys, stateless nonces, time-limited credentials, and the stores that hold them."""

__all__: list[str] = []
