"""The words: one sentence each, for a person who is not an engineer, with something to try."""

import re

import pytest

from turnserver.signaling.truth.sentences import TEXTS, VerdictCode, say

ALL = [(code, key) for code, texts in TEXTS.items() for key in texts]
JARGON = re.compile(
    r"\b(ICE|STUN|candidate|NAT|symmetric|allocation|srflx|HMAC|401|486|701|credential)\b", re.IGNORECASE
)


def test_every_code_has_words() -> None:
    assert set(TEXTS) == set(VerdictCode)
    assert all(TEXTS.values())


@pytest.mark.parametrize(("code", "key"), ALL)
def test_one_sentence_that_says_what_to_try(code: VerdictCode, key: str) -> None:
    verdict = say(code, key, tried=("UDP", "TCP"))
    assert verdict.code is code
    assert re.fullmatch(r"[A-Z][^.{}]*: [^.{}]*\.", verdict.text), verdict.text
    assert 40 < len(verdict.text) < 260


@pytest.mark.parametrize(("code", "key"), ALL)
def test_no_jargon_for_those_who_are_to_act(code: VerdictCode, key: str) -> None:
    """What only the person who runs the site can mend may be called by its name."""
    for_visitors = say(code, key).text.partition("tell the person who runs this site")[0]
    assert not JARGON.search(for_visitors)


def test_what_was_tried_is_named() -> None:
    for tried, words in (
        ((), "in any way that was tried"),
        (("UDP",), "over UDP"),
        (("UDP", "TCP", "TLS"), "over UDP, TCP or TLS"),
    ):
        verdict = say(VerdictCode.TURN_UNREACHABLE, "unreachable, you", tried=tried)
        assert f" {words}: " in verdict.text
        assert (verdict.case, verdict.tried) == ("unreachable_you", tried)
    assert say(VerdictCode.STILL_TRYING, "no answer", tried=("UDP",))[2:] == ("no_answer", ())
