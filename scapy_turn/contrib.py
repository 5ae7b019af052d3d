# SPDX-License-Identifier: GPL-2.0-or-later
# scapy.contrib.description = Session Traversal Utilities for NAT (STUN) and relays (TURN)
# scapy.contrib.status = loads
"""What scapy loads as ``scapy.contrib.turn``: the names of the package, of which there is one copy only."""

import scapy_turn
from scapy_turn import *

__all__ = []
__all__ += scapy_turn.__all__
