"""``python -m meshturn`` is the command ``meshturn``."""

from cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
