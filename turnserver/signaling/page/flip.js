/** The other camera of a telephone: offered only where there is one. */

import {problemText} from './devices.js';
import {announce} from './dom.js';

const OTHER = {user: 'environment', environment: 'user'};

/**
 * Have a button switch between the camera that looks at the user and the one that looks away; it is hidden where there are no such two.
 * @param {import('./devices.js').Devices} devices @param {HTMLButtonElement} button
 */
export function offerFlip(devices, button) {
  const show = async () => {
    const {videoinput} = await devices.list();
    button.hidden = !devices.cameraOn || !both(devices, videoinput);
  };
  devices.addEventListener('change', show);
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      await devices.renew('video', {deviceId: undefined, facingMode: {exact: OTHER[devices.facing] ?? 'user'}});
    } catch (error) {
      announce(problemText({audio: null, video: error.name}));
    } finally {
      button.disabled = false;
    }
  });
  return show();
}

/** Whether there is a camera for either direction: they say so, or this is a telephone whose camera says which one it is. */
function both(devices, cameras) {
  const ways = new Set(cameras.flatMap((camera) => camera.getCapabilities?.().facingMode ?? []));
  if (ways.has('user') && ways.has('environment')) return true;
  return cameras.length > 1 && navigator.maxTouchPoints > 0 && devices.facing in OTHER;
}
