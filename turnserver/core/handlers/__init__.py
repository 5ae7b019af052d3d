"""One module per TURN method; each RFC step is a small function with its section.

A handler is given the state and a request that has been authenticated. It either queues exactly one answer or raises
`turnserver.core.errors.Refusal`.
"""

__all__: list[str] = []
