"""The part of the public API that is the wire: addresses, messages, URIs."""

from stun.address import Address
from stun.message import Message, MessageBuilder
from stun.uri import StunUri

__all__ = ["Address", "Message", "MessageBuilder", "StunUri"]
