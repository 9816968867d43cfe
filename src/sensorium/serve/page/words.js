// Series, texts and tables with attention over them.

import { chart, legend } from "./chart.js";
import { element, number } from "./dom.js";
import { css } from "./heat.js";

const MOST_LINES = 12;
const MOST_ROWS = 40;

export function series(signal, settings) {
  const [steps, channels] = signal.series.shape;
  const lines = Array.from({ length: Math.min(channels, MOST_LINES) }, (_, channel) => ({
    name: signal.channels?.[channel] ?? `channel ${channel + 1}`,
    points: Array.from({ length: steps }, (_, step) => [step, signal.series.data[step * channels + channel]]),
  }));
  const frame = element("div", { className: "stage" });
  const draw = () => {
    const attention = signal.attention?.data ?? [];
    const bands = [];
    for (let step = 0; step < attention.length; step += 1) {
      const last = bands.at(-1);
      if (last && last[3] === attention[step]) last[1] = step + 0.5;
      else bands.push([Math.max(0, step - 0.5), Math.min(steps - 1, step + 0.5), css(attention[step], settings.strength), attention[step]]);
    }
    frame.replaceChildren(chart({ lines, bands, label: "The series, with the attention behind it", xLabel: "steps" }));
  };
  draw();
  const parts = [frame];
  if (channels > 1) parts.push(legend(lines));
  if (channels > MOST_LINES) parts.push(element("p", { className: "soft small" }, `The first ${MOST_LINES} of ${channels} channels.`));
  return { parts, draw };
}

export function text(signal, settings) {
  const letters = [...signal.text];
  const shown = element("p", { className: "letters" });
  const draw = () => {
    shown.replaceChildren();
    let mark = null;
    let level = null;
    letters.forEach((letter, place) => {
      const now = signal.attention ? signal.attention.data[place] >> 4 : 0;
      if (now !== level) {
        level = now;
        mark = element("mark");
        mark.style.background = css(Math.min(255, now * 17), settings.strength);
        shown.append(mark);
      }
      mark.append(letter);
    });
  };
  draw();
  return { parts: [shown], draw };
}

export function table(signal, settings) {
  const attention = signal.attention?.data;
  const order = signal.columns.map((_, place) => place);
  if (attention && order.length > MOST_ROWS) order.sort((one, other) => attention[other] - attention[one]);
  const made = element("table", { className: "cells" });
  made.append(element("thead", {}, element("tr", {}, ...["Column", "Value", "Attention"].map((name) => element("th", { scope: "col" }, name)))));
  const body = element("tbody");
  const bars = [];
  for (const place of order.slice(0, MOST_ROWS)) {
    const cell = signal.cells[place];
    const bar = element("i");
    bars.push([bar, place]);
    const track = element("div", { className: "track", role: "img", ariaLabel: attention ? `attention ${Math.round(attention[place] / 2.55)} of 100` : "" }, bar);
    const value = cell === null ? "–" : typeof cell === "number" ? number(cell) : cell;
    body.append(element("tr", {}, element("th", { scope: "row" }, signal.columns[place]), element("td", { className: typeof cell === "number" ? "number" : "" }, value), element("td", {}, track)));
  }
  made.append(body);
  const draw = () => {
    for (const [bar, place] of bars) {
      bar.style.width = `${attention ? attention[place] / 2.55 : 0}%`;
      bar.style.opacity = 0.25 + 0.75 * settings.strength;
    }
  };
  draw();
  const parts = [made];
  if (order.length > MOST_ROWS) parts.push(element("p", { className: "soft small" }, `The ${MOST_ROWS} most attended of ${order.length} columns.`));
  return { parts, draw };
}
