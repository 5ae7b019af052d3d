/** What happened, for somebody who helps: one JSON text, addresses masked, of bounded length, without secrets. */

const MOST = 200;

export class Diagnostics {
  /** @param {() => number} now milliseconds */
  constructor(now = Date.now) {
    this.now = now;
    this.lines = [];
    this.network = null;
  }

  /** Note that something happened; the oldest notes go first. @param {string} what @param {object} detail no secrets */
  add(what, detail = {}) {
    this.lines.push({at: new Date(this.now()).toISOString(), what, ...detail});
    if (this.lines.length > MOST) this.lines.splice(0, this.lines.length - MOST);
  }

  /**
   * @param {import('./mesh.js').Mesh} mesh @param {import('./signal.js').Signal} signal
   * @param {Map<string, object>} stats @returns {Promise<string>} the text to copy
   */
  async text(mesh, signal, stats) {
    const peers = [...mesh.peers.values()].map((peer) => ({
      id: peer.id,
      state: peer.state,
      gap: peer.gap,
      connection: peer.pc?.connectionState,
      ice: peer.pc?.iceConnectionState,
      signaling: peer.pc?.signalingState,
      stats: stats.get(peer.id) ?? null,
      server: mesh.serverPaths.get(peer.id) ?? null,
    }));
    const found = {
      product: 'meshturn',
      made: new Date(this.now()).toISOString(),
      browser: navigator.userAgent,
      signaling: signal.state,
      you: mesh.you?.id ?? null,
      iceExpires: mesh.ice?.exp ?? null,
      icePolicy: mesh.ice?.policy ?? null,
      iceUrls: (mesh.ice?.servers ?? []).flatMap((server) => server.urls),
      network: this.network,
      peers,
      events: this.lines,
    };
    const {maskAddresses} = await import('./mask.js');
    return JSON.stringify(maskAddresses(found), null, 2);
  }
}
