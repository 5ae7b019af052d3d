"""A TURN server and a TURN client without sockets, clocks or threads: bytes and the time in, commands out.

So a test or a simulation can connect the two by hand, look at every step, and advance the clock by an hour at once.
"""

import os

import meshturn as mt
from meshturn.commands import OpenRelay, SendToClient
from meshturn.credentials import StaticUsers

LISTENER = mt.Address.parse("198.51.100.1", 3478)
CLIENT = mt.FiveTuple(mt.ClientTransport.UDP, mt.Address.parse("203.0.113.5", 40000), LISTENER, listener=0)

config = mt.Config(realm="example.org")  # every option has a default
own = mt.OwnAddresses(relays=(mt.RelayAddress(LISTENER.ip, LISTENER.ip),), listeners=(LISTENER,))
users, nonces = StaticUsers({"alice": "wonderland"}), mt.NonceIssuer([os.urandom(32)])
server = mt.TurnCore(config, own, users, nonces, os.urandom)
client = mt.ClientCore(os.urandom, login=mt.Login("alice", "wonderland"))


def exchange(seconds: float) -> None:
    """Carry frames and commands between the two until neither has any left."""
    now = mt.Now(mono=seconds, wall=1_700_000_000.0 + seconds)
    server.expire(now)
    while frames := client.frames():
        for frame in frames:
            server.client_frame(CLIENT, frame, now)
        while commands := server.commands():
            for command in commands:
                print(f"{seconds:6.0f} s  {type(command).__name__}")
                if isinstance(command, SendToClient):
                    client.receive(command.frame, seconds)
                elif isinstance(command, OpenRelay):
                    server.relay_opened(command.relay, now)  # a server with sockets binds one first


request = client.allocate(0.0)
exchange(0.0)
print(f"the relay is {request.result().address}")
seconds = 0.0
while seconds < 3600:  # an hour, from one deadline of either side to the next
    seconds = min(due for due in (server.deadline(), client.deadline()) if due is not None)
    client.expire(seconds)
    exchange(seconds)
print(f"after {seconds / 3600:.1f} h there is {len(server.allocations())} allocation")
exchange(seconds + 3600)  # the client does not refresh any more
print(f"after {seconds / 3600 + 1:.1f} h there are {len(server.allocations())}:", type(server.events()[-1]).__name__)
