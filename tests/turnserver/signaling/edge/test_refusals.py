"""The codes of the HTTP API's errors."""

from turnserver.signaling.edge.refusals import ApiCode


def test_a_code_has_a_status_and_a_text_for_operators() -> None:
    for code in ApiCode:
        assert str(code) == code.name.lower()
        assert 400 <= code.status < 600
        assert code.meaning
        assert code.remedy
