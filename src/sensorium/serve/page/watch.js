// A run while it trains: figures and learning curves, live.

import { follow, hasToken, setToken } from "./api.js";
import { chart, legend } from "./chart.js";
import { byId, element, number, percent } from "./dom.js";

const TITLES = { loss: "Loss", learning_rate: "Learning rate", accuracy: "Accuracy", training_accuracy: "Accuracy in training" };
const LEFT_OUT = new Set(["step", "seconds", "epoch", "progress"]);
const SHARES = /accuracy|f1|recall|precision|map$|auroc/;

const title = (name) => TITLES[name] ?? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
const plain = (name) => name.replace(/^val_/, "");

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function curves(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !LEFT_OUT.has(name));
  const clock = rows.every((row) => row.seconds !== undefined) ? "seconds" : "step";
  const last = rows.at(-1)[clock];
  const [unit, scale] = clock === "step" ? ["step", 1] : last < 120 ? ["seconds", 1] : last < 7200 ? ["minutes", 60] : ["hours", 3600];
  const order = (name) => ["loss", "accuracy"].findIndex((known) => known === name) >>> 0;
  return [...new Set(names.map(plain))]
    .sort((one, other) => order(one) - order(other))
    .map((name) => {
      const lines = [name, `val_${name}`]
        .map((key, place) => ({
          name: place ? "validation" : "training",
          colour: place ? "#e0703c" : "#2f6fde",
          points: rows.filter((row) => Number.isFinite(row[key])).map((row) => [row[clock] / scale, row[key]]),
        }))
        .filter((line) => line.points.length);
      if (!lines.length) return null;
      const drawn = chart({ lines, label: `${title(name)} over time`, xLabel: unit, percent: SHARES.test(name), width: 520, height: 270 });
      return element("section", { className: "card" }, element("h2", {}, title(name)), drawn, ...(lines.length > 1 ? [legend(lines)] : []));
    })
    .filter(Boolean);
}

function cards({ rows, report }) {
  const made = [];
  const add = (large, small) => made.push(element("div", {}, element("b", {}, large), element("span", {}, small)));
  if (report) {
    const value = report.metrics[report.primary_metric];
    add(SHARES.test(report.primary_metric) ? percent(value) : number(value), `${title(report.primary_metric).toLowerCase()}, ${report.split} split`);
    add(number(report.samples), "examples");
  }
  const last = rows.at(-1) ?? {};
  for (const name of ["val_accuracy", "val_loss", "loss"]) {
    if (!Number.isFinite(last[name]) || made.length > 3) continue;
    add(SHARES.test(name) ? percent(last[name]) : number(Number(last[name].toPrecision(4))), `${title(plain(name)).toLowerCase()} ${name.startsWith("val_") ? "in validation" : "in training"}`);
  }
  if (last.step !== undefined) add(number(last.step), "steps");
  const seconds = report?.train_seconds ?? last.seconds;
  if (seconds !== undefined) add(duration(seconds), "of training");
  return made;
}

function show(state) {
  document.title = `${state.name} · sensorium watch`;
  byId("name").textContent = state.name;
  byId("report").hidden = !state.report || hasToken(); // a link cannot name a token
  const words = state.report ? "finished" : state.rows.length ? "training" : "waiting for the first figures";
  byId("state").textContent = words;
  byId("state").classList.remove("lost");
  byId("state").classList.toggle("done", Boolean(state.report));
  byId("cards").replaceChildren(...cards(state));
  byId("curves").replaceChildren(...(state.rows.length ? curves(state.rows) : []));
  document.body.dataset.rows = state.rows.length;
}

function lost(error) {
  byId("state").textContent = error.status ? error.message : "the connection is lost; trying again";
  byId("state").classList.add("lost");
  byId("access").hidden = error.status !== 401;
}

const start = () => follow("/v1/events", show, lost);
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token").value);
  byId("access").hidden = true;
  start();
});
start();
