// An answer: what the model says, how sure it is, and where it looks.

import { decodeSignal } from "./api.js";
import { cloud } from "./cloud.js";
import { element, number, percent } from "./dom.js";
import { film, picture, volume } from "./pictures.js";
import { sound } from "./sound.js";
import { series, table, text } from "./words.js";

const VIEWS = { image: picture, video: film, volume, audio: sound, points: cloud, series, text, table };
const MOST_BARS = 8;

function bars(probabilities) {
  const list = element("dl", { className: "bars" });
  Object.entries(probabilities) // which has names that are numbers in their own order
    .sort(([, one], [, other]) => other - one)
    .slice(0, MOST_BARS)
    .forEach(([name, share], place) => {
      const first = place === 0 ? " first" : "";
      const fill = element("i");
      fill.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
      list.append(
        element("dt", { className: first.trim() }, name),
        element("dd", { className: `track${first}`, ariaHidden: "true" }, fill),
        element("dd", { className: `number${first}` }, percent(share)),
      );
    });
  return list;
}

// The answer in words, for the heading and for screen readers.
export function inWords(answer, schema) {
  if (answer.error) return `It cannot be read: ${answer.error}`;
  const said = answer.answer;
  if (typeof said === "string") {
    const score = answer.scores?.[said];
    return schema.probabilities && score !== undefined ? `${said}, ${percent(score)}` : said;
  }
  if (Array.isArray(said)) return said.length ? said.join(", ") : Object.entries(answer.scores ?? {}).map(([name, value]) => `${name} ${number(value)}`).join(", ") || "nothing";
  return Object.entries(said ?? {}).map(([name, value]) => `${name} ${number(value)}`).join(", ");
}

function numbers(values) {
  const rows = Object.entries(values).map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, number(value))));
  return element("table", { className: "numbers" }, element("tbody", {}, ...rows));
}

function verdict(answer, schema) {
  const said = answer.answer;
  const parts = [];
  if (typeof said === "string") {
    const heading = element("p", { className: "verdict" }, element("b", {}, said));
    const score = answer.scores?.[said];
    if (schema.probabilities && score !== undefined) heading.append(element("span", {}, percent(score)));
    parts.push(heading);
  } else if (Array.isArray(said)) {
    if (said.length) parts.push(element("ul", { className: "chips" }, ...said.map((tag) => element("li", {}, tag))));
    else if (schema.classes.length) parts.push(element("p", { className: "verdict" }, element("b", {}, "none of the tags")));
  } else {
    return [numbers(said ?? {})];
  }
  if (Object.keys(answer.scores ?? {}).length) parts.push(schema.probabilities ? bars(answer.scores) : numbers(answer.scores));
  (answer.holes ?? []).forEach((hole, place) => parts.push(element("h3", {}, `Hole ${place + 1}`), bars(hole)));
  if (answer.label) parts.push(element("h3", {}, "Its label"), bars(answer.label));
  return parts;
}

function view(name, signal, share, settings, file) {
  const decoded = decodeSignal(signal);
  const draw = VIEWS[signal.kind];
  const title = element("h3", {}, share === undefined ? "Where the model looks" : name);
  if (share !== undefined) title.append(element("small", {}, `${percent(share)} of the attention`));
  if (signal.kind === "pair") title.append(element("small", {}, "middle of the frames"));
  const section = element("section", { className: "signal", ariaLabel: name });
  section.dataset.kind = signal.kind;
  if (!draw) {
    const label = "The signal, with the attention over it";
    section.append(title, element("div", { className: "stage" }, element("img", { src: signal.picture, alt: label })));
    return { section };
  }
  const made = draw(decoded, settings, file);
  section.append(title, ...made.parts);
  return { section, ...made };
}

// Shows an answer in an element. files: by signal, what was given. Returns what ends its films and turns.
export function showAnswer(target, answer, { schema, settings, files, onCrossAttend }) {
  target.replaceChildren();
  if (answer.error) {
    target.append(element("p", { className: "status bad" }, answer.error));
    return () => {};
  }
  target.append(...verdict(answer, schema));
  for (const { title, picture, note } of answer.pictures ?? []) {
    const heading = element("h3", {}, title);
    if (note) heading.append(element("small", {}, note));
    target.append(element("figure", { className: "signal" }, element("figcaption", {}, heading), element("img", { src: picture, alt: title })));
  }
  if (answer.legend) target.append(element("p", { className: "soft small" }, answer.legend));
  if (answer.remarks) {
    target.append(element("ul", { className: "remarks" }, ...answer.remarks.map((remark) => element("li", {}, remark))));
  }
  const shares = answer.shares?.[answer.cross_attend];
  const views = Object.entries(answer.signals ?? {}).map(([name, signal]) => view(name, signal, shares?.[name], settings, files[name]));
  target.append(...views.map(({ section }) => section));
  if (views.length) target.append(controls(answer, settings, views.filter((each) => each.draw), onCrossAttend));
  return () => views.forEach((each) => each.stop?.());
}

function controls(answer, settings, drawn, onCrossAttend) {
  const bar = element("div", { className: "controls" });
  if (drawn.length) bar.append(strength(settings, drawn));
  if (answer.cross_attends > 1) bar.append(crossAttend(answer, onCrossAttend));
  return bar;
}

function strength(settings, drawn) {
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: settings.strength });
  slider.addEventListener("input", () => {
    settings.strength = Number(slider.value);
    drawn.forEach(({ draw }) => draw());
  });
  return element("label", {}, "Attention", element("span", { className: "scale", ariaHidden: "true" }), slider);
}

function crossAttend(answer, onCrossAttend) {
  const choice = element("select");
  for (let attend = 0; attend < answer.cross_attends; attend += 1) {
    choice.append(element("option", { value: attend, selected: attend === answer.cross_attend }, `${attend + 1} of ${answer.cross_attends}`));
  }
  choice.addEventListener("change", () => onCrossAttend(Number(choice.value)));
  return element("label", {}, "Cross-attend", choice);
}
