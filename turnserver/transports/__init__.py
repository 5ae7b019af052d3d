"""How clients reach the server: listeners for UDP, TCP and TLS, the shared port, the PROXY protocol, certificates."""

__all__: list[str] = []
