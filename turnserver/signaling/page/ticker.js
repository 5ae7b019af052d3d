/** A worker that says when the next picture is due: timers of a page that is not looked at run once a second at most. */

let timer = null;

addEventListener('message', ({data}) => {
  clearInterval(timer);
  timer = data > 0 ? setInterval(() => postMessage(null), data) : null;
});
