/** The stage of a call as one picture: its tiles as they stand, drawn into a canvas, without buttons. */

const NAME = 22; // px of the letters on a name plate, in the picture
const ROUND = 12; // px

export class Picture {
  /**
   * @param {HTMLElement} grid whose `.tile`s are drawn
   * @param {{width: number, height: number}} size px
   */
  constructor(grid, {width, height}) {
    this.grid = grid;
    this.canvas = Object.assign(document.createElement('canvas'), {width, height});
    this.context = this.canvas.getContext('2d', {alpha: false});
  }

  /** Draw what is to be seen now. */
  draw() {
    const {canvas, context} = this;
    const area = this.grid.getBoundingClientRect();
    context.fillStyle = '#101413';
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (area.width === 0 || area.height === 0) return;
    const scale = Math.min(canvas.width / area.width, canvas.height / area.height);
    const left = (canvas.width - area.width * scale) / 2;
    const top = (canvas.height - area.height * scale) / 2;
    const place = (box) => ({
      x: left + (box.x - area.x) * scale, y: top + (box.y - area.y) * scale, width: box.width * scale, height: box.height * scale,
    });
    const tiles = [...this.grid.querySelectorAll('.tile')].sort((one, other) => one.hasAttribute('data-small') - other.hasAttribute('data-small'));
    for (const tile of tiles) this.#drawTile(tile, place);
  }

  #drawTile(tile, place) {
    const {context} = this;
    const box = place(tile.getBoundingClientRect());
    if (box.width < 1 || box.height < 1) return;
    context.save();
    context.beginPath();
    if (context.roundRect) context.roundRect(box.x, box.y, box.width, box.height, ROUND);
    else context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    context.fillStyle = '#232a27';
    context.fillRect(box.x, box.y, box.width, box.height);
    const video = tile.querySelector('video');
    if (tile.dataset.picture === 'on' && video.videoWidth > 0) this.#drawVideo(video, place(video.getBoundingClientRect()), tile.dataset.kind === 'screen');
    else this.#drawInitials(tile.querySelector('.avatar').textContent, box);
    if (!tile.hasAttribute('data-small')) this.#drawName(tile.querySelector('.plate-name').textContent, box);
    context.restore();
  }

  /** A camera fills its place, a screen is shown whole. Oneself is not mirrored: what is written is to be read. */
  #drawVideo(video, box, whole) {
    const fit = whole ? Math.min : Math.max;
    const scale = fit(box.width / video.videoWidth, box.height / video.videoHeight);
    const width = video.videoWidth * scale;
    const height = video.videoHeight * scale;
    this.context.drawImage(video, box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height);
  }

  #drawInitials(letters, box) {
    const {context} = this;
    const size = Math.min(box.width, box.height) * 0.2;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    context.fillStyle = '#3b4742';
    context.beginPath();
    context.arc(x, y, size, 0, Math.PI * 2);
    context.fill();
    this.#write(letters, x, y, size * 0.8, 'center');
  }

  #drawName(name, box) {
    const {context} = this;
    context.font = `${NAME}px sans-serif`;
    const width = Math.min(box.width - 24, context.measureText(name).width + 20);
    const height = NAME * 1.5;
    context.fillStyle = 'rgb(10 14 13 / 78%)';
    context.fillRect(box.x + 12, box.y + box.height - height - 12, width, height);
    this.#write(name, box.x + 22, box.y + box.height - height / 2 - 12, NAME, 'left', width - 20);
  }

  #write(text, x, y, size, align, most) {
    const {context} = this;
    context.fillStyle = '#ffffff';
    context.font = `${size}px sans-serif`;
    context.textAlign = align;
    context.textBaseline = 'middle';
    context.fillText(text, x, y, most);
  }
}
