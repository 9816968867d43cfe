// Pictures, films and volumes with attention over their pixels.

import { canvas, element } from "./dom.js";
import { css, painted } from "./heat.js";
import { player } from "./player.js";

const COARSE = 160; // pixels; smaller pictures are shown with their pixels seen

function frameCanvas(width, height, label) {
  const made = canvas(width, height, label, `picture${Math.max(width, height) < COARSE ? " coarse" : ""}`);
  made.style.aspectRatio = `${width} / ${height}`;
  return made;
}

export function picture(signal, settings) {
  const [height, width, channels] = signal.pixels.shape;
  const shown = frameCanvas(width, height, "The picture as the model reads it, with the attention over it");
  const draw = () =>
    shown
      .getContext("2d")
      .putImageData(painted(signal.pixels.data, channels, signal.attention?.data, width, height, settings.strength), 0, 0);
  draw();
  return { parts: [element("div", { className: "stage" }, shown)], draw };
}

// How strong the attention to each frame or slice is, along its slider.
function strip(slider, attention) {
  const count = attention?.shape[0] ?? 0;
  const strongest = Array.from({ length: count }, (_, number) => frameOf(attention, number).reduce((most, level) => Math.max(most, level), 0));
  const bar = element("div", { className: "strip", ariaHidden: "true" });
  const colours = strongest.map((level, number) => `${css(level)} ${(100 * number) / count}% ${(100 * (number + 1)) / count}%`);
  if (count) bar.style.background = `linear-gradient(90deg, ${colours.join(", ")})`;
  const around = element("div", { className: "time" });
  slider.replaceWith(around);
  around.append(slider, bar);
  return strongest.indexOf(Math.max(...strongest));
}

function frameOf(array, number) {
  const size = array.shape.slice(1).reduce((product, side) => product * side, 1);
  return array.data.subarray(number * size, (number + 1) * size);
}

// Frames × height × width × channels, of which one is shown at a time.
function sheet(frames, attention, settings, label) {
  const [, height, width, channels = 1] = frames.shape;
  const shown = frameCanvas(width, height, label);
  let current = 0;
  const draw = (number = current) => {
    current = number;
    const heat = attention ? frameOf(attention, number) : null;
    const image = painted(frameOf(frames, number), channels, heat, width, height, settings.strength);
    shown.getContext("2d").putImageData(image, 0, 0);
  };
  draw(0);
  return { shown, draw };
}

export function film(signal, settings, file) {
  const label = "The film as the model reads it, with the attention over it";
  const { shown, draw } = sheet(signal.frames, signal.attention, settings, label);
  const count = signal.frames.shape[0];
  const controls = player({
    seconds: count / signal.rate,
    start: signal.start ?? 0,
    file,
    name: "film",
    show: (time) => draw(Math.min(count - 1, Math.floor(time * signal.rate + 1e-6))),
  });
  strip(controls.bar.querySelector("input"), signal.attention);
  return { parts: [element("div", { className: "stage" }, shown), controls.bar], draw: () => draw(), stop: controls.stop };
}

export function volume(signal, settings) {
  const label = "A slice of the volume, with the attention over it";
  const { shown, draw } = sheet(signal.slices, signal.attention, settings, label);
  const count = signal.slices.shape[0];
  const slider = element("input", { type: "range", min: 0, max: count - 1, value: 0, ariaLabel: "Slice" });
  const shownNumber = element("output", {}, `1 of ${count}`);
  slider.addEventListener("input", () => {
    draw(Number(slider.value));
    shownNumber.textContent = `${Number(slider.value) + 1} of ${count}`;
  });
  const bar = element("div", { className: "player" }, slider, shownNumber);
  const strongest = strip(slider, signal.attention);
  slider.value = strongest < 0 ? Math.floor(count / 2) : strongest;
  slider.dispatchEvent(new Event("input"));
  return {
    parts: [element("div", { className: "stage" }, shown), bar],
    draw: () => draw(),
  };
}
