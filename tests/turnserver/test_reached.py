"""What handlers are told of the way by which a request has come."""

from aiohttp.test_utils import make_mocked_request

from turnserver.reached import REACHED, Reached


def test_it_is_in_the_request_and_nothing_is_assumed() -> None:
    request = make_mocked_request("GET", "/")
    assert REACHED not in request
    request[REACHED] = Reached("192.0.2.1", "https", "meet.example.org")
    assert request[REACHED][3:] == ((), 0, False)
