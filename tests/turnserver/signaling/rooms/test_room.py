"""One room: members, roles, and whose connection is which."""

from turnserver.signaling.protocol.client_messages import Join, Stat
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.rooms.room import Member, Room, room_hash
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Grant, HubBounds

__all__: list[str] = []

BOUNDS = HubBounds()


def enter(room: Room, peer_id: str, role: str = "member") -> Member:
    connection = Connection(1, "c", "192.0.2.1", "h", bounds=BOUNDS, mono=0.0)
    session = Session(f"s{peer_id}", peer_id, Grant(role=role), connection, bounds=BOUNDS, client="")
    return room.seat(session, f"u.{peer_id}", Join(room="blue"), name=peer_id, media=Media(), wall=5.0)


def test_a_room_is_hashed_and_not_named() -> None:
    """`<room hash>.<peer id>` is seen on the wire in the clear."""
    assert room_hash("blue") == "16477688c0"
    assert room_hash("blue") != room_hash("Blue")


def test_roles_of_a_pair_are_opposites() -> None:
    room = Room("blue", 4, 1.0)
    low, high = enter(room, "aaaaaaaaaa"), enter(room, "bbbbbbbbbb")
    of_high, of_low = room.peer(high, low), room.peer(low, high)
    assert (of_high.polite, of_low.polite) == (False, True)
    assert (of_high.start, of_low.start) == (False, True)


def test_a_room_knows_its_hosts_and_the_others() -> None:
    room = Room("blue", 2, 1.0)
    enter(room, "a")
    enter(room, "b", "host")
    assert [member.id for member in room.hosts()] == ["b"]
    assert [member.id for member in room.others("a")] == ["b"]


def test_who_leaves_takes_everything_along() -> None:
    room = Room("blue", 4, 1.0)
    a, b = enter(room, "a"), enter(room, "b")
    a.stats["b"] = Stat(to="b")
    a.announced["b"] = {"host"}
    room.saw("a", "b", "pc", 3)
    room.saw("b", "a", "pc", 3)
    assert room.unseat("b") is b
    assert (a.stats, a.announced, room.lines) == ({}, {}, {})


def test_lines_remember_the_first_frame_of_a_connection() -> None:
    room = Room("blue", 4, 1.0)
    room.saw("a", "b", "pc1", 3)
    room.saw("a", "b", "pc1", 9)
    assert room.lines["a", "b"].seq == 3
    assert room.stale_line("b", "a", "pc1") is None
    assert room.stale_line("b", "a", None) is None, "whoever names no connection means none"
    assert room.stale_line("a", "b", "anything") is None, "nothing is known of the other direction"
    stale = room.stale_line("b", "a", "pc0")
    assert stale is not None
    assert stale.pc == "pc1"
    room.saw("a", "b", "pc2", 12)
    assert (room.lines["a", "b"].seq, room.lines["a", "b"].reset) == (12, False)


def test_a_view_is_a_copy() -> None:
    room = Room("blue", 4, 1.0)
    member = enter(room, "a")
    view = room.view()
    member.name = "changed"
    assert (view.peers[0].name, view.peers[0].connected, view.created) == ("a", False, 1.0)
