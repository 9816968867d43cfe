// A cloud of points that turns with the mouse, a finger or the arrow keys.

import { canvas, colour, element } from "./dom.js";
import { HEAT } from "./heat.js";

const SIDE = 640;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export function cloud(signal, settings) {
  const shown = canvas(SIDE, Math.round(SIDE * 0.72), "The points, coloured by attention. Arrow keys turn them.", "turns");
  shown.tabIndex = 0;
  const [count] = signal.points.shape;
  const points = signal.points.data;
  let [across, up] = [0.7, 0.35];
  let zoom = 1;
  let turning = !STILL.matches;

  const draw = () => {
    const context = shown.getContext("2d");
    context.clearRect(0, 0, shown.width, shown.height);
    const [cosA, sinA, cosU, sinU] = [Math.cos(across), Math.sin(across), Math.cos(up), Math.sin(up)];
    const scale = shown.height * 0.42 * zoom;
    const placed = Array.from({ length: count }, (_, number) => {
      const [x, y, z] = [points[3 * number], points[3 * number + 1], points[3 * number + 2]];
      const [right, back] = [x * cosA - y * sinA, x * sinA + y * cosA];
      const [high, far] = [z * cosU + back * sinU, back * cosU - z * sinU]; // seen from above
      return [right, high, far, number];
    }).sort((one, other) => other[2] - one[2]);
    const size = Math.max(2.2, Math.min(7, 130 / Math.sqrt(count)));
    const base = colour("--soft");
    for (const [right, high, far, number] of placed) {
      const near = 1 / (1 + 0.28 * far);
      const [x, y] = [shown.width / 2 + right * scale * near, shown.height / 2 - high * scale * near];
      const radius = size * near;
      context.globalAlpha = 0.28 + 0.3 * Math.max(0, Math.min(1, (1 - far) / 2));
      context.fillStyle = base;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
      if (!signal.attention) continue;
      const [red, green, blue, opacity] = HEAT[signal.attention.data[number]];
      context.globalAlpha = Math.min(1, opacity * 1.2 * settings.strength);
      context.fillStyle = `rgb(${red | 0} ${green | 0} ${blue | 0})`;
      context.beginPath();
      context.arc(x, y, radius * 1.15, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  };

  const turn = (sideways, upwards) => {
    turning = false;
    across += sideways;
    up = Math.max(-1.5, Math.min(1.5, up + upwards));
    draw();
  };
  shown.addEventListener("pointerdown", (event) => {
    shown.setPointerCapture(event.pointerId);
    turning = false;
  });
  shown.addEventListener("pointermove", (event) => {
    if (event.buttons) turn(event.movementX * 0.011, event.movementY * 0.011);
  });
  shown.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom = Math.max(0.4, Math.min(6, zoom * Math.exp(-event.deltaY * 0.0012)));
      draw();
    },
    { passive: false },
  );
  const KEYS = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] };
  shown.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    turn(...KEYS[event.key]);
  });
  const spin = () => {
    if (!turning || !shown.isConnected) return;
    across += 0.004;
    draw();
    requestAnimationFrame(spin);
  };
  draw();
  requestAnimationFrame(() => requestAnimationFrame(spin));
  const note = element("p", { className: "soft small" }, `${count.toLocaleString("en")} points; drag to turn, scroll to come nearer.`);
  return { parts: [element("div", { className: "stage" }, shown), note], draw, stop: () => (turning = false) };
}
