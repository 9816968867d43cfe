// Lines over an axis, as SVG: signals in time and learning curves.

import { element, number, shape } from "./dom.js";

const COLOURS = ["#2f6fde", "#e0703c", "#18865c", "#8a5bd1", "#c93f6b", "#7a7f8a", "#b08a1e", "#1c9fb5"];

function ticks(low, high, count) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => (first + place) * step);
}

// lines: [{name, points: [[x, y], …]}]. bands: [[from, to, colour], …] behind them.
export function chart({ lines, label, xLabel, percent = false, bands = [], widest = 720, height = 270 }) {
  const width = Math.max(300, Math.min(widest, innerWidth - 64)); // so that letters are as large on a phone
  const all = lines.flatMap((line) => line.points).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const [xs, ys] = [all.map(([x]) => x), all.map(([, y]) => y)];
  const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [left, right] = extent(xs);
  let [low, high] = extent(ys);
  if (!(high > low)) [low, high] = [low - 1, low + 1];
  const margin = { left: 58, right: 12, top: 12, bottom: 38 };
  const x = (value) => margin.left + ((value - left) / (right - left || 1)) * (width - margin.left - margin.right);
  const y = (value) => height - margin.bottom - ((value - low) / (high - low)) * (height - margin.top - margin.bottom);
  const drawn = shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
  for (const [from, to, fill] of bands) {
    const width_ = Math.max(0.5, x(to) - x(from) + 0.4);
    drawn.append(shape("rect", { x: x(from), y: margin.top, width: width_, height: height - margin.top - margin.bottom, fill }));
  }
  for (const value of ticks(low, high, 4)) {
    drawn.append(shape("line", { x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value), class: "grid" }));
    const words = percent ? `${number(100 * value)} %` : number(value);
    drawn.append(shape("text", { x: margin.left - 8, y: y(value) + 4, "text-anchor": "end" }, words));
  }
  for (const value of ticks(left, right, 6)) {
    drawn.append(shape("text", { x: x(value), y: height - 18, "text-anchor": "middle" }, number(value)));
  }
  if (xLabel) drawn.append(shape("text", { x: width - margin.right, y: height - 3, "text-anchor": "end" }, xLabel));
  lines.forEach((line, place) => {
    let path = "";
    let pen = "M";
    for (const [at, value] of line.points) {
      const known = Number.isFinite(at) && Number.isFinite(value);
      if (known) path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = known ? "L" : "M";
    }
    const stroke = line.colour ?? COLOURS[place % COLOURS.length];
    if (line.points.length === 1 && all.length) drawn.append(shape("circle", { cx: x(line.points[0][0]), cy: y(line.points[0][1]), r: 3.5, fill: stroke }));
    drawn.append(shape("path", { d: path, class: "line", stroke, opacity: line.opacity ?? 1 }));
  });
  return drawn;
}

export function legend(lines) {
  const list = element("ul", { className: "legend" });
  lines.forEach((line, place) => {
    const mark = element("i");
    mark.style.background = line.colour ?? COLOURS[place % COLOURS.length];
    list.append(element("li", {}, mark, line.name));
  });
  return list;
}
