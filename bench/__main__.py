"""``python -m bench``."""

from bench.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
