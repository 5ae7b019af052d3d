# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m scapy_turn``: see `scapy_turn.scan`."""

import sys

from scapy_turn.scan import main

sys.exit(main())
