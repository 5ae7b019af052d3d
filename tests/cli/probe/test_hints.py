"""What error codes mean for somebody whose call does not work."""

import pytest

from cli.probe.hints import advise
from stun.constants import ErrorCode, Method


@pytest.mark.parametrize("code", [*ErrorCode, 600, 0])
@pytest.mark.parametrize("method", [Method.ALLOCATE, Method.CREATE_PERMISSION])
def test_every_code_has_a_sentence_and_a_hint(method: Method, code: int) -> None:
    """RFC 8656 §19: any code, known or not, is one sentence and one hint, with the code in it."""
    advice = advise(method, code, "words")
    assert advice.sentence.endswith(f"({code} words)." if code else "(an error without a code).")
    assert advice.sentence.count(". ") == 0
    assert advice.hint.endswith((".", ")."))


def test_forbidden_means_another_thing_for_peers() -> None:
    """RFC 8656 §10.2: 403 to CreatePermission and ChannelBind is about the peer, elsewhere about the user."""
    allocate, permission = (advise(method, 403, "") for method in (Method.ALLOCATE, Method.CREATE_PERMISSION))
    assert "relayed address" in permission.sentence
    assert permission == advise(Method.CHANNEL_BIND, 403, "")
    assert "relayed address" not in allocate.sentence


def test_the_servers_words_are_harmless() -> None:
    """Rule 24: reason phrases are hostile text; padding counted into them is left out."""
    assert "(486 \\x1b[2Jfull)." in advise(Method.ALLOCATE, 486, "\x1b[2Jfull\x00\x00").sentence
    assert len(advise(Method.ALLOCATE, 486, "x" * 5000).sentence) < 300
