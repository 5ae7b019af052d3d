"""The wire format in the public API: addresses, messages, URIs."""

from stun.address import Address
from stun.message import Message, MessageBuilder
from stun.uri import StunUri

__all__ = ["Address", "Message", "MessageBuilder", "StunUri"]
