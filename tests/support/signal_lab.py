"""A signaling server in this process whose wire can be cut at any frame, and pages that use the JavaScript client.

Between the browser and the real rooms stands a wire of ours: it keeps every frame, checks it against the published
schema, loses the one that it is told to lose together with the socket, and can be unplugged for a while.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from auth.revocation import RevokedUsers
from tests.support.netns import NetworkNamespace
from tests.support.room_options import hub_settings
from tests.support.signal_schema import validate_client, validate_server
from turnserver.core.types import AllocationView
from turnserver.signaling.edge.service import Service
from turnserver.signaling.edge.websocket import PROTOCOL
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Ice, IceServer
from turnserver.signaling.rooms.media_port import MediaEvent
from turnserver.signaling.rooms.settings import Grant

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["Crossing", "LabPage", "SignalLab", "lab_page"]

PORT = 8080
PATIENCE = 90_000
"""Milliseconds until what a page waits for counts as failed."""

ROOMY: dict[str, Any] = {"open": True, "joins_per_minute": 10_000, "sockets_per_address": 1000}
"""Everybody may come in, as often as they like."""

BLANK = "<!doctype html><html lang=en><title>lab</title><video id=v autoplay muted playsinline></video></html>"

HELPERS = """
const load = (name) => import(`/call-assets/${name}.js`);
globalThis.lab = {
  runs: {},
  until: async (test, what = 'something') => {
    const end = performance.now() + 85000;
    for (;;) {
      const found = await test();
      if (found) return found;
      if (performance.now() > end) throw new Error(`still waiting for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },
  camera: async () => {
    const video = {width: 320, height: 180, frameRate: 15};
    lab.stream ??= await navigator.mediaDevices.getUserMedia({audio: true, video});
    return lab.stream;
  },
  enter: async (who, room, {media = true, options = {}, name = who, storage = null, token, offerer} = {}) => {
    const [{Signal}, {Mesh}, {StatsMonitor}] = await Promise.all(['signal', 'mesh', 'stats'].map(load));
    const run = {heard: [], states: [], gone: [], verdicts: [], data: [], calls: [], connections: 0};
    class Counted extends RTCPeerConnection {
      constructor(...rest) { super(...rest); run.connections += 1; }
      get connectionState() { return this.pretended ?? super.connectionState; }
    }
    for (const name of ['setConfiguration', 'restartIce', 'setRemoteDescription', 'addIceCandidate']) {
      Counted.prototype[name] = function (...rest) {
        run.calls.push(name);
        return RTCPeerConnection.prototype[name].apply(this, rest);
      };
    }
    run.signal = new Signal(`ws://${location.host}/v1/ws?who=${who}`, {random: () => 0.02, storage, token});
    run.mesh = new Mesh(run.signal, {RTCPeerConnection: Counted, ...options});
    run.stats = new StatsMonitor(run.mesh);
    run.signal.addEventListener('state', ({detail}) => run.states.push(detail.state));
    run.signal.addEventListener('gone', ({detail}) => run.gone.push(detail.code));
    run.mesh.addEventListener('message', ({detail}) => run.heard.push(detail.data));
    run.mesh.addEventListener('verdict', ({detail}) => run.verdicts.push(detail.verdict));
    run.mesh.addEventListener('data', ({detail}) => run.data.push(detail.data));
    run.peer = () => run.mesh.peers.values().next().value;
    lab.runs[who] = run;
    if (media) {
      const stream = await lab.camera();
      for (const track of stream.getTracks()) run.mesh.setTrack(track.kind, track, stream);
    }
    await run.signal.open();
    await run.mesh.join(room, {name});
    return run.mesh.you.id;
  },
  connected: (who, count = 1) => lab.until(() => {
    const {mesh} = lab.runs[who];
    return mesh.peers.size === count && [...mesh.peers.values()].every((peer) => peer.state === 'connected');
  }, `${who} to be connected`),
  frames: async (who, more = 5) => {
    const run = lab.runs[who];
    run.video ??= document.body.appendChild(document.createElement('video'));
    Object.assign(run.video, {autoplay: true, muted: true});
    const {camera} = run.peer().streams;
    if (run.video.srcObject !== camera) run.video.srcObject = camera;
    const shown = () => run.video.getVideoPlaybackQuality().totalVideoFrames;
    const first = shown();
    await lab.until(() => shown() >= first + more, `${who} to see more frames`);
  },
  pretend: (who, state) => {
    const {pc} = lab.runs[who].peer();
    pc.pretended = state;
    pc.dispatchEvent(new Event('connectionstatechange'));
  },
  picture: () => {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, {width: 320, height: 180});
    const context = canvas.getContext('2d');
    let shade = 0;
    setInterval(() => { context.fillStyle = `hsl(${shade += 9} 80% 50%)`; context.fillRect(0, 0, 320, 180); }, 66);
    return canvas.captureStream(15);
  },
  send: (who, kind, stream) => {
    lab.runs[who].mesh.setTrack(kind, stream && stream.getTracks().find((track) => track.kind !== 'audio'), stream);
  },
  share: (who) => lab.send(who, 'screen', lab.picture()),
  steady: (who) => lab.runs[who].peer()?.pc.signalingState === 'stable' && lab.runs[who].peer().state === 'connected',
  fragment: (who) => /a=ice-ufrag:(\\S+)/.exec(lab.runs[who].peer().pc.localDescription.sdp)[1],
  username: (who) => lab.runs[who].peer().pc.getConfiguration().iceServers[0].username,
  exit: (who) => {
    const run = lab.runs[who];
    if (!run) return;
    run.mesh.leave();
    run.signal.bye();
    run.video?.remove();
    delete lab.runs[who];
  },
};
"""


class Crossing(NamedTuple):
    """One frame on the wire: of whom, towards the ``server`` or the ``client``, over which socket of theirs."""

    who: str
    towards: str
    frame: dict[str, Any]
    socket: int


@dataclass
class _Line:
    """What the wire does for one client."""

    cut_at: set[int] = field(default_factory=set)
    cut_type: tuple[str, str] | None = None
    crossed: int = 0
    sockets: int = 0
    cuts: int = 0
    unplugged: bool = False
    held: tuple[str, ...] = ()
    holding: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    live: "set[_Socket]" = field(default_factory=set)

    def abort(self) -> None:
        """Lose every socket."""
        for socket in self.live:
            socket.abort()


class _Socket:
    """One WebSocket of the browser's and its continuation to the rooms."""

    def __init__(self, request: web.Request, near: web.WebSocketResponse, far: ClientWebSocketResponse) -> None:
        self._request = request
        self.near = near
        self.far = far

    def abort(self) -> None:
        """Both ends lose it without a word."""
        for transport in (
            self._request.transport,
            self.far._response.connection and self.far._response.connection.transport,
        ):
            if transport is not None:
                transport.abort()


class _NoEngine:
    """A relay engine that has no allocations."""

    def revoke(self, user_id: str) -> int:
        return 0

    def allocations(self, user_ids: Collection[str] | None = None) -> Sequence[AllocationView]:
        return []


def _mint(user_id: str, wall: float, host: str) -> Ice:
    return Ice(servers=(), exp=int(wall) + 600, policy="all")


class SignalLab:
    """Rooms, pages and the wire between; a context manager, with everything in a thread of its own.

    ``grants`` are what tokens allow. ``inside`` is the namespace to serve in, at `http://localhost:8080`. With ``sfu``,
    the rooms have a media engine (``media``), which is made by that.
    """

    def __init__(
        self,
        inside: NetworkNamespace,
        grants: dict[str, Grant] | None = None,
        *,
        sfu: Callable[[Callable[[MediaEvent], None]], Any] | None = None,
        **settings: Any,
    ) -> None:
        self._inside = inside
        self._sfu = sfu
        self.media: Any = None
        self._options, self._bounds = hub_settings(**(ROOMY | settings))
        self._grants = grants or {}
        self._lines: dict[str, _Line] = {}
        self._ready = threading.Event()
        self._moved = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signal-lab")
        self._failure: BaseException | None = None
        self.ice_servers: tuple[IceServer, ...] = ()
        self.ice_policy: Literal["all", "relay"] = "all"
        self._pages: dict[str, str] = {}
        self.crossings: list[Crossing] = []
        self.faults: list[str] = []
        self.url = f"http://localhost:{PORT}"
        self.service = self._make_service()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # For tests

    def forget(self) -> None:
        """Begin a new record."""
        self.crossings.clear()
        self.faults.clear()
        self._lines.clear()

    def erase(self) -> None:
        """Begin a new record of frames; whatever was told to the wire remains."""
        self.crossings.clear()

    def wait(self, test: Callable[[], object], what: str) -> None:
        """Wait until something is true of the wire."""
        end = time.monotonic() + PATIENCE / 1000
        while not test():
            assert time.monotonic() < end, f"still waiting for {what}"
            self._moved.wait(1)
            self._moved.clear()

    def cut(self, who: str, *at: int) -> None:
        """Lose the frames with these numbers (from 1, both directions counted together), each with its socket."""
        self._line(who).cut_at.update(at)

    def cut_type(self, who: str, towards: str, kind: str) -> None:
        """Lose the next frame of that type, with its socket."""
        self._line(who).cut_type = (towards, kind)

    def unplug(self, who: str, unplugged: bool = True) -> None:
        """No socket of theirs lives until this is taken back."""
        self._line(who).unplugged = unplugged
        if unplugged:
            self.do(self._line(who).abort)

    def hold(self, who: str, *types: str) -> None:
        """From now on, frames of these types that they send wait on the wire, and all after them."""
        line = self._line(who)
        line.released.clear()
        line.held = types

    def holding(self, who: str) -> int:
        """How many frames are being held."""
        return self._line(who).holding

    def release(self, who: str) -> None:
        """Let go on what was held."""
        line = self._line(who)
        line.held = ()
        self.do(line.released.set)

    def cuts(self, who: str) -> int:
        """How often they have lost a socket to us."""
        return self._line(who).cuts

    def crossed(self, who: str) -> int:
        """Frames of theirs so far."""
        return self._line(who).crossed

    def of(self, who: str, towards: str, *types: str) -> list[dict[str, Any]]:
        """The frames that crossed, of these types."""
        return [
            each.frame
            for each in list(self.crossings)
            if each.who == who and each.towards == towards and (not types or each.frame["t"] in types)
        ]

    def do(self, action: Callable[[], Any]) -> Any:
        """Do something in the server's thread, then whatever follows from it."""

        async def act() -> Any:
            found = action()
            self.service.work()
            return found

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(30)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def serve(self, path: str, html: str) -> None:
        """Serve a page of somebody else's."""
        self._pages[path] = html

    def push_ice(self) -> None:
        """Give everybody new ICE servers."""
        self.do(lambda: self.service.hub.rotate(self.service._clock()))

    @contextmanager
    def with_settings(self, **settings: Any) -> Iterator[None]:
        """Have other rooms for a while; those before and those in between are lost."""
        usual = self._options, self._bounds
        self._options, self._bounds = hub_settings(**(ROOMY | settings))
        try:
            self.lose_everything()
            yield
        finally:
            self._options, self._bounds = usual
            self.lose_everything()

    def lose_everything(self) -> None:
        """The rooms are gone as if the server had been restarted."""

        def restart() -> None:
            old, self.service = self.service, self._make_service()
            self.service.start(_NoEngine())
            old.stop()
            for line in self._lines.values():
                line.abort()

        self.do(restart)

    # The server

    def _make_service(self) -> Service:
        def mint(user_id: str, wall: float, host: str) -> Ice:
            return Ice(servers=self.ice_servers, exp=int(wall) + 600, policy=self.ice_policy)

        def tell(event: MediaEvent) -> None:
            self._loop.call_soon(lambda: found.on_media(event))

        self.media = None if self._sfu is None else self._sfu(tell)
        found = Service(
            self._options, self._admit, mint, RevokedUsers(), separator=":", bounds=self._bounds, media=self.media
        )
        return found

    def _admit(self, token: str, wall: float) -> Grant:
        if token not in self._grants:
            raise Denial(SignalCode.BAD_TOKEN, "not a token of ours")
        return self._grants[token]

    def _line(self, who: str) -> _Line:
        return self._lines.setdefault(who, _Line())

    def _run(self) -> None:
        try:
            with self._inside.entered():
                asyncio.run(self._serve())
        except BaseException as error:  # handed to the test's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/rooms", self._rooms)
        app.router.add_get("/v1/ws", self._wire)
        app.router.add_get("/lab", self._blank)
        pages = Service(self._options, self._admit, _mint, RevokedUsers(), separator=":", bounds=self._bounds)
        app.router.add_get("/call/{room}", pages._pages.call)
        app.router.add_get("/call-assets/{file:.+}", pages._pages.asset)
        app.router.add_get("/example", self._example)
        app.router.add_get("/favicon.ico", pages._pages.icon)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        self.service.start(_NoEngine())
        async with ClientSession() as self._http:
            self._ready.set()
            await self._stop.wait()
            self.service.stop()
            await runner.cleanup()

    async def _rooms(self, request: web.Request) -> web.StreamResponse:
        return await self.service.edge.handle(request)

    async def _blank(self, request: web.Request) -> web.Response:
        policy = "default-src 'self'; script-src 'self'; media-src 'self' blob: mediastream:"
        return web.Response(text=BLANK, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _example(self, request: web.Request) -> web.Response:
        return web.Response(text=self._pages[request.path], content_type="text/html")

    async def _wire(self, request: web.Request) -> web.StreamResponse:
        who = request.query.get("who", "")
        line = self._line(who)
        if line.unplugged:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        near = web.WebSocketResponse(protocols=(PROTOCOL,), compress=False)
        await near.prepare(request)
        far = await self._http.ws_connect(f"http://127.0.0.1:{PORT}/rooms", protocols=(PROTOCOL,), max_msg_size=0)
        line.sockets += 1
        socket = _Socket(request, near, far)
        line.live.add(socket)
        pumps = [
            asyncio.ensure_future(self._pump(line, socket, who, line.sockets, "server")),
            asyncio.ensure_future(self._pump(line, socket, who, line.sockets, "client")),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        line.live.discard(socket)
        await asyncio.gather(near.close(), far.close(), return_exceptions=True)
        return near

    async def _pump(self, line: _Line, socket: _Socket, who: str, number: int, towards: str) -> None:
        source: Any = socket.near if towards == "server" else socket.far
        sink: Any = socket.far if towards == "server" else socket.near
        while True:
            message = await source.receive()
            if message.type is not WSMsgType.TEXT:
                if message.type is WSMsgType.CLOSE and not sink.closed:
                    await sink.close(code=message.data or 1000)
                return
            frame = json.loads(message.data)
            line.crossed += 1
            self._check(towards, frame)
            lost = line.crossed in line.cut_at or line.cut_type == (towards, frame["t"])
            if lost:
                line.cut_type = None
                line.cuts += 1
                socket.abort()
                return
            if towards == "server" and frame["t"] in line.held:
                line.holding += 1
                self._moved.set()
                await line.released.wait()
                line.holding -= 1
            self.crossings.append(Crossing(who, towards, frame, number))
            self._moved.set()
            await sink.send_str(message.data)

    def _check(self, towards: str, frame: dict[str, Any]) -> None:
        try:
            (validate_client if towards == "server" else validate_server)(frame)
        except AssertionError as error:
            self.faults.append(str(error)[:400])


class LabPage:
    """A blank page with the client's modules at hand, as `lab` in its scripts."""

    def __init__(self, page: "Page", lab: SignalLab) -> None:
        self.page = page
        self.lab = lab
        self.errors: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of console errors that the browser itself writes when a socket of ours cannot be opened."""
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(f"page error: {error}"))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.open()

    def open(self) -> None:
        """Load the page (anew)."""
        self.page.goto(f"{self.lab.url}/lab")
        self.page.evaluate(f"() => {{ {HELPERS} }}")

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate a function's text in the page."""
        return self.page.evaluate(script, argument)

    def start(self, script: str, argument: Any = None) -> None:
        """Begin something that is waited for with `finish`."""
        self.page.evaluate(
            f"(argument) => {{ lab.pending = ({script})(argument); lab.pending.catch(() => {{}}); }}", argument
        )

    def finish(self) -> Any:
        """Wait for what `start` began."""
        return self.page.evaluate("() => lab.pending")

    def enter(self, who: str, room: str, **options: Any) -> str:
        """Open a session and join; the peer id."""
        return str(self.run("([who, room, options]) => lab.enter(who, room, options)", [who, room, options]))

    def connected(self, who: str, count: int = 1) -> None:
        """Wait until all of so many peers are connected."""
        self.run("([who, count]) => lab.connected(who, count)", [who, count])

    def frames(self, who: str, more: int = 5) -> None:
        """Wait until so many more pictures have been shown."""
        self.run("([who, more]) => lab.frames(who, more)", [who, more])

    def until(self, test: str, argument: Any = None) -> None:
        """Wait until a function's text gives something true."""
        self.page.wait_for_function(test, arg=argument, polling=20)

    def exit(self, *who: str) -> None:
        """Leave, and forget the run."""
        for each in who:
            self.run("(who) => lab.exit(who)", each)

    def faults(self) -> list[str]:
        """What the page should not have written."""
        return [text for text in self.errors if not any(part in text for part in self.expected)]


@contextmanager
def lab_page(browser: "Browser", lab: SignalLab) -> Iterator[LabPage]:
    """A page of somebody new. Fails on errors of the page, on its console, and in the frames that crossed."""
    context = browser.new_context(permissions=["camera", "microphone"])
    try:
        page = LabPage(context.new_page(), lab)
        yield page
        assert not page.faults(), page.faults()
        assert not lab.faults, lab.faults
    finally:
        context.close()
