"""One end of a call with GStreamer's webrtcbin, whose ICE is libnice's; run by Debian's Python, which has ``gi``.

It takes commands and reports as lines of JSON, so that the test decides what passes between the two ends::

    {"do": "offer"}                   → {"description": SDP with all candidates}
    {"do": "answer", "sdp": SDP}      → {"description": SDP with all candidates}
    {"do": "accept", "sdp": SDP}
    {"do": "send", "text": TEXT}      → {"heard": TEXT} at the other end

Besides, there are {"state": STATE} of the connection, and {"open": true} when the data channel is.
"""

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")

from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402  the versions come first

__all__ = ["End", "main"]


def report(**facts: object) -> None:
    """Write one line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class End:
    """A webrtcbin with one data channel. ``turn`` is the URL in GStreamer's form, with the credential in it."""

    def __init__(self, turn: str) -> None:
        self.pipeline = Gst.Pipeline.new()
        self.bin = Gst.ElementFactory.make("webrtcbin")
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.channel: Any = None
        self.pipeline.add(self.bin)
        if not self.bin.emit("add-turn-server", turn):
            raise SystemExit(f"webrtcbin does not take {turn}")
        self.bin.connect("notify::ice-gathering-state", self.gathering)
        self.bin.connect("notify::connection-state", self.connection)
        self.bin.connect("on-data-channel", lambda _, channel: self.use(channel))
        self.pipeline.set_state(Gst.State.PLAYING)

    def gathering(self, *_: object) -> None:
        if self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            report(description=self.bin.get_property("local-description").sdp.as_text())

    def connection(self, *_: object) -> None:
        report(state=self.bin.get_property("connection-state").value_nick)

    def use(self, channel: Any) -> None:
        self.channel = channel
        channel.connect("on-open", lambda _: report(open=True))
        channel.connect("on-message-string", lambda _, text: report(heard=text))

    def obey(self, command: dict[str, str]) -> None:
        """Carry out one command of the test."""
        match command["do"]:
            case "offer":
                self.use(self.bin.emit("create-data-channel", "test", None))
                self.bin.emit("create-offer", None, self.then(lambda reply: self.settle(reply.get_value("offer"))))
            case "answer":
                made = self.then(lambda reply: self.settle(reply.get_value("answer")))
                told = self.then(lambda _: self.bin.emit("create-answer", None, made))
                self.bin.emit("set-remote-description", remote("OFFER", command["sdp"]), told)
            case "accept":
                self.bin.emit("set-remote-description", remote("ANSWER", command["sdp"]), Gst.Promise.new())
            case "send":
                self.channel.emit("send-string", command["text"])

    def settle(self, description: Any) -> None:
        self.bin.emit("set-local-description", description, Gst.Promise.new())

    def then(self, function: Callable[[Any], object]) -> Any:
        """A promise that calls a function with its reply."""
        return Gst.Promise.new_with_change_func(lambda promise, *_: function(promise.get_reply()))


def remote(kind: str, text: str) -> Any:
    """The other end's description."""
    _, sdp = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(getattr(GstWebRTC.WebRTCSDPType, kind), sdp)


def main() -> None:
    """Serve until standard input ends."""
    Gst.init(None)
    missing = [name for name in ("webrtcbin", "nicesrc", "sctpenc") if Gst.ElementFactory.find(name) is None]
    if missing or len(sys.argv) < 2:
        raise SystemExit(f"GStreamer has no {', '.join(missing)}" if missing else 0)
    end = End(sys.argv[1])
    loop = GLib.MainLoop()

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(end.obey, json.loads(line))
        GLib.idle_add(loop.quit)

    threading.Thread(target=listen, daemon=True).start()
    loop.run()
    end.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
