// The page: takes files, texts and rows, asks the server, and shows the answers.

import { inWords, showAnswer } from "./answer.js";
import { ask, readSchema, setToken } from "./api.js";
import { byId, element } from "./dom.js";
import { acceptFiles, assign, nouns, rowFields, textField } from "./inputs.js";
import { recordButtons } from "./recording.js";

const MOST_EXPLAINED = 24; // files; of more, the answers alone are shown
const DOES = { flow: "says how each pixel moves", mlm: "fills in what is hidden", reconstruct: "reconstructs what it reads" };
const settings = { strength: 0.85 };
const given = new Map(); // of a model of several signals: what there is of each
const fields = new Map(); // texts and rows that are written on the page, by signal
let schema;
let request = null; // what was asked last: parts and files
let running = null;
let stop = () => {};

// spoken: the words are on the page already, and only screen readers need them.
function say(words, bad = false, spoken = false) {
  byId("status").textContent = words;
  byId("status").classList.toggle("bad", bad);
  byId("status").classList.toggle("unseen", spoken);
}

// -- asking

async function send(parts, files, { crossAttend = -1, shown = 0, quiet = false } = {}) {
  running?.abort();
  const own = (running = new AbortController());
  request = { parts, files };
  say("The model is looking …");
  try {
    const explain = schema.cross_attends > 0 && parts.length <= MOST_EXPLAINED;
    const { answers, notes } = await ask(parts, { explain, crossAttend, signal: own.signal });
    show(answers, shown);
    say([inWords(answers[shown] ?? answers[0], schema), ...notes].join(". "), false, !notes.length);
    if (!quiet) reveal();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) byId("access").hidden = false;
    say(error.message, true);
  }
}

function reveal() {
  const answer = byId("answer");
  answer.focus({ preventScroll: true });
  if (answer.getBoundingClientRect().top > innerHeight * 0.7) answer.scrollIntoView({ block: "start", behavior: "smooth" });
}

// Of a model of one signal, every file is an example; of several, the signals that are there are one.
function takeFiles(files) {
  if (schema.field) {
    const parts = files.map((file) => ({ field: schema.field, name: file.name, content: file }));
    listChosen(files.map((file) => [null, file.name]));
    return send(parts, { [schema.signals[0].name]: files[0] });
  }
  const refused = assign(schema.signals, files, given);
  showGiven();
  if (refused.length) return say(`The model reads no such file: ${refused.join(", ")}`, true);
  return sendGiven();
}

function sendGiven() {
  const parts = [...given].map(([field, file]) => ({ field, name: file.name, content: file }));
  for (const [field, { signal, value }] of fields) {
    if (given.has(field)) continue;
    const content = value();
    const filled = signal.kind === "text" ? content !== "" : Object.values(content).some((cell) => cell !== null);
    if (filled) parts.push({ field, name: "", content: signal.kind === "text" ? content : JSON.stringify(content) });
  }
  if (!parts.length) return say("Give at least one of the signals.", true);
  return send(parts, Object.fromEntries(given));
}

function listChosen(lines, remove = null) {
  const items = lines.map(([name, file]) => {
    const item = element("li", {}, ...(name ? [element("b", {}, name)] : []), element("span", { title: file }, file));
    if (remove) {
      const button = element("button", { type: "button", ariaLabel: `Take ${name} away` }, "✕");
      button.addEventListener("click", () => remove(name));
      item.append(button);
    }
    return item;
  });
  byId("chosen").replaceChildren(...items.slice(0, 8));
  if (items.length > 8) byId("chosen").append(element("li", {}, `and ${items.length - 8} more`));
}

function showGiven() {
  listChosen([...given].map(([name, file]) => [name, file.name]), (name) => {
    given.delete(name);
    showGiven();
    if (given.size) sendGiven();
  });
}

// -- answers

function show(answers, first) {
  byId("empty").hidden = true;
  const result = byId("result");
  result.hidden = false;
  result.replaceChildren();
  const place = element("div");
  let current = Math.min(first, answers.length - 1);
  const put = () => {
    stop();
    stop = showAnswer(place, answers[current], {
      schema,
      settings,
      files: filesOf(current, answers.length),
      onCrossAttend: (crossAttend) => send(request.parts, request.files, { crossAttend, shown: current, quiet: true }),
    });
  };
  if (answers.length > 1) result.append(chooser(answers, current, (chosen) => ((current = chosen), put())));
  result.append(place);
  put();
}

// What was given for an answer: of a model of one signal, files and answers are as many unless a file holds several.
function filesOf(current, count) {
  if (!schema.field || request.parts.length !== count) return request.files;
  const { content } = request.parts[current];
  return { [schema.signals[0].name]: content instanceof File ? content : null };
}

function chooser(answers, current, choose) {
  const list = element("select", { ariaLabel: "Example" });
  answers.forEach((answer, place) => {
    const name = `${place + 1}. ${answer.file}: ${answer.error ? "cannot be read" : inWords(answer, schema)}`;
    list.append(element("option", { value: place, selected: place === current }, name));
  });
  const go = (place) => {
    list.value = (place + answers.length) % answers.length;
    choose(Number(list.value));
  };
  const back = element("button", { type: "button", ariaLabel: "The example before" }, "‹");
  const on = element("button", { type: "button", ariaLabel: "The next example" }, "›");
  list.addEventListener("change", () => choose(Number(list.value)));
  back.addEventListener("click", () => go(Number(list.value) - 1));
  on.addEventListener("click", () => go(Number(list.value) + 1));
  return element("div", { className: "several" }, back, list, on);
}

// -- the page of this model

function describe() {
  const kinds = schema.signals.map((signal) => signal.kind);
  document.title = `${schema.model} · sensorium`;
  byId("name").textContent = schema.model;
  const size = schema.parameters >= 1e6 ? `${(schema.parameters / 1e6).toFixed(1)} million` : schema.parameters.toLocaleString("en");
  byId("about").textContent = `Reads ${nouns(kinds)}; ${does()}. ${size} parameters.`;
  byId("drop-what").textContent = `Drop ${nouns(kinds)} here`;
  byId("drop-note").textContent = takes();
  byId("curl").textContent = command();
}

// The files that can be dropped: some endings of each signal, and how many.
function takes() {
  const [first] = schema.signals;
  if (schema.field && first.kind === "table") return ".csv .parquet .xlsx …, an example a row";
  if (schema.field && first.kind === "pair") return ".png .jpg …, the first and the second picture";
  const most = schema.field ? 6 : 3;
  const endings = schema.signals.filter(({ suffixes }) => suffixes.length).map(({ suffixes }) => suffixes.slice(0, most).join(" ") + (suffixes.length > most ? " …" : ""));
  return `${endings.join(", ")}; ${schema.field ? "one or several" : "one of each"}`;
}

function does() {
  const count = schema.classes.length.toLocaleString("en");
  const called = schema.target ? ` (${schema.target})` : "";
  if (schema.task === "classify") return `tells ${count} classes apart${called}`;
  if (schema.task === "tag") return `knows ${count} tags${called}`;
  if (schema.task === "regress") return schema.classes.length > 1 ? `gives ${count} numbers` : `gives a number${called}`;
  return DOES[schema.task] ?? `task: ${schema.task}`;
}

function command() {
  const parts = schema.field ? "-F file=@FILE" : schema.signals.map((signal) => `-F ${signal.name}=@FILE`).join(" ");
  const token = byId("access").hidden ? "" : ' -H "Authorization: Bearer $SENSORIUM_TOKEN"';
  return `curl ${parts}${token} ${location.origin}/v1/predict`;
}

function addFields() {
  const several = !schema.field;
  const made = [];
  for (const signal of schema.signals) {
    const words = signal.kind === "text";
    if (!words && signal.kind !== "table") continue;
    const sendOne = (value) => {
      if (several) return sendGiven();
      if (words && !value) return say("Write something first.", true);
      listChosen([]);
      const content = words ? value : JSON.stringify(value);
      return send([{ field: signal.name, name: "", content }], {});
    };
    const field = (words ? textField : rowFields)(signal, sendOne, !several);
    if (several) fields.set(signal.name, { signal, value: field.value });
    made.push(field.form);
  }
  if (several) {
    const button = element("button", { type: "button", className: "main" }, "Ask the model");
    button.addEventListener("click", sendGiven);
    if (fields.size) made.push(element("p", {}, button));
  }
  byId("fields").replaceChildren(...made);
}

async function start() {
  try {
    schema = await readSchema();
  } catch (error) {
    if (error.status === 401) byId("access").hidden = false;
    return say(error.message, true);
  }
  say("");
  describe();
  addFields();
  const kinds = new Set(schema.signals.map((signal) => signal.kind));
  byId("record").replaceChildren(...recordButtons(kinds, byId("viewfinder"), (file) => takeFiles([file]), (words) => say(words, true)));
  document.body.dataset.ready = "yes";
}

byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token").value);
  start();
});
acceptFiles((files) => schema && takeFiles(files));
start();
