"""Error codes: close codes of the specification; a refusal carries all that goes on the wire."""

from turnserver.signaling.protocol.errors import CLOSE_CODES, Denial, SignalCode, reconnect_of

__all__: list[str] = []


def test_close_codes_are_for_applications() -> None:
    """RFC 6455 §7.4.2: 4000 to 4999."""
    assert all(4000 <= code < 5000 for code in CLOSE_CODES.values())


def test_close_codes_of_the_specification() -> None:
    wanted = {
        "bad_json": 4400,
        "auth_required": 4401,
        "bad_token": 4401,
        "forbidden": 4403,
        "banned": 4403,
        "replaced": 4409,
        "kicked": 4410,
        "room_closed": 4410,
        "slow_consumer": 4413,
        "unsupported_version": 4426,
        "rate_limited": 4429,
        "internal": 4500,
        "draining": 4503,
    }
    assert {code: CLOSE_CODES[SignalCode(code)] for code in wanted} == wanted


def test_a_refusal_says_where_and_what() -> None:
    refusal = Denial(SignalCode.ROOM_FULL, "full", path="room", detail={"max": 4}, retry=5)
    assert (str(refusal), refusal.detail, refusal.retry) == ("full", {"max": 4, "path": "room"}, 5)
    assert not refusal.fatal


def test_what_a_client_does_after_a_goodbye() -> None:
    never = {"kicked", "banned", "replaced", "room_closed", "forbidden", "bad_token", "unsupported_version"}
    assert {code for code in never if reconnect_of(SignalCode(code)) == "never"} == never
    resume = {"slow_consumer", "draining", "internal", "rate_limited"}
    assert {code for code in resume if reconnect_of(SignalCode(code)) == "resume"} == resume
