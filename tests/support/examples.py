"""How many examples a property is given: all of them in ``make test``, a fifth in ``make check``.

Importing this module registers the two profiles of Hypothesis, of which ``--hypothesis-profile`` chooses one.
"""

from typing import Final

from hypothesis import HealthCheck, settings

__all__ = ["FAST", "WHOLE", "scaled"]

WHOLE: Final = "whole"
FAST: Final = "fast"

_FULL: Final = 100

# On a busy machine an example takes as long as it takes.
settings.register_profile(WHOLE, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=_FULL)
settings.register_profile(FAST, settings.get_profile(WHOLE), max_examples=_FULL // 5)


def scaled(examples: int) -> int:
    """The number of examples for a property that has ``examples`` of them in a whole run."""
    return max(1, examples * settings().max_examples // _FULL)
