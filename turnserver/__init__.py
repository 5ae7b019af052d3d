"""meshturn's server: sans-IO core, datapaths, transports and what joins them."""

__all__ = ["__version__"]

__version__ = "0.1.0"
