# SPDX-License-Identifier: GPL-2.0-or-later
"""STUN and TURN for scapy: layers, integrity, sockets through a relay, a tiny server, and probes of servers.

``from scapy_turn import *`` beside ``from scapy.all import *``, or ``conf.exts.load("scapy-turn")``, after which
``load_contrib("turn")`` has the same names. Both bind the layers to ports 3478 and 5349; ``bind(443)`` adds another.
"""

from pathlib import Path
from typing import Any

from scapy_turn import stun_attributes, turn_attributes
from scapy_turn.attribute import StunAttribute
from scapy_turn.automaton import TurnAutomaton
from scapy_turn.demultiplex import Turn, bind, unbind
from scapy_turn.digests import long_term_key, short_term_key, userhash
from scapy_turn.integrity import Credential, Seals, sign, verify
from scapy_turn.message import ChannelData, StunMessage, stun_frames
from scapy_turn.relay import TurnSocket
from scapy_turn.server import StunServer
from scapy_turn.stun_attributes import *
from scapy_turn.turn_attributes import *
from scapy_turn.version import VERSION as __version__

__all__ = [
    "ChannelData",
    "Credential",
    "Seals",
    "StunAttribute",
    "StunMessage",
    "StunServer",
    "Turn",
    "TurnAutomaton",
    "TurnSocket",
    "__version__",
    "bind",
    "long_term_key",
    "scapy_ext",
    "short_term_key",
    "sign",
    "stun_frames",
    "unbind",
    "userhash",
    "verify",
]
__all__ += stun_attributes.__all__
__all__ += turn_attributes.__all__


def scapy_ext(ext: Any) -> None:
    """Tell scapy's extension loader what there is: ``scapy.contrib.turn``, and name and version."""
    ext.config("scapy-turn", __version__)
    ext.register(name="turn", mode=ext.MODE.CONTRIB, path=Path(__file__).with_name("contrib.py"), default=False)
