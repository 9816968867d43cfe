// Play, pause and a slider over some seconds; where the browser can play the file, its sound goes along.

import { element } from "./dom.js";

const clock = (seconds) => `${seconds.toFixed(1)} s`;

// start: seconds of the file before what is shown. show(time) draws a moment, from 0 to seconds.
export function player({ seconds, start = 0, file = null, name, show }) {
  const toggle = element("button", { type: "button", ariaLabel: `Play the ${name}` }, "▶");
  const slider = element("input", { type: "range", min: 0, max: seconds, step: "any", value: 0, ariaLabel: `Time in the ${name}` });
  const time = element("output", {}, clock(0));
  const sound = file ? element("audio", { src: URL.createObjectURL(file), preload: "auto" }) : null;
  let sounds = Boolean(sound);
  sound?.addEventListener("error", () => (sounds = false));
  let playing = false;
  let since = 0;

  const now = () => (sounds && !sound.paused ? sound.currentTime - start : (performance.now() - since) / 1000);
  const put = (moment) => {
    slider.value = moment;
    time.textContent = `${clock(moment)} of ${clock(seconds)}`;
    show(moment);
  };
  const step = () => {
    if (!playing) return;
    const moment = now();
    if (moment >= seconds) return stop(0);
    put(Math.max(0, moment));
    requestAnimationFrame(step);
  };
  const stop = (moment = null) => {
    playing = false;
    sound?.pause();
    toggle.textContent = "▶";
    toggle.ariaLabel = `Play the ${name}`;
    if (moment !== null) put(moment);
  };
  toggle.addEventListener("click", () => {
    if (playing) return stop();
    playing = true;
    since = performance.now() - 1000 * Number(slider.value);
    if (sounds) {
      sound.currentTime = start + Number(slider.value);
      sound.play().catch(() => (sounds = false));
    }
    toggle.textContent = "❚❚";
    toggle.ariaLabel = `Pause the ${name}`;
    requestAnimationFrame(step);
  });
  slider.addEventListener("input", () => {
    stop();
    put(Number(slider.value));
  });
  put(0);
  return { bar: element("div", { className: "player" }, toggle, slider, time), stop };
}
