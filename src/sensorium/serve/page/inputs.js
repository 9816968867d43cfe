// What a person gives: files for each signal, a text, or the cells of a row.

import { byId, element, number } from "./dom.js";

const NOUNS = { image: "a picture", audio: "a sound", video: "a video", points: "a point cloud", series: "a series", text: "a text", table: "a table", volume: "a volume", pair: "two pictures" };
const MOST_FIELDS = 40;

const noun = (kind) => NOUNS[kind] ?? `a file of ${kind}`;
export const nouns = (kinds) => {
  const words = kinds.map(noun);
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
};

const endingOf = (name) => {
  const plain = name.toLowerCase().replace(/\.gz$/, "");
  return plain.includes(".") ? plain.slice(plain.lastIndexOf(".")) : "";
};

const FILMS = [".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ogv"];

function reads(signal, file) {
  const ending = endingOf(file.name);
  if (signal.suffixes.includes(ending)) return true;
  if (signal.kind === "audio") return FILMS.includes(ending);
  return ["table", "series"].includes(signal.kind) && [".csv", ".tsv", ".parquet", ".jsonl"].includes(ending);
}

// A model of several signals: for each dropped file, the signals that it may be; a film is its pictures and its sound.
export function assign(signals, files, given) {
  const refused = [];
  for (const file of files) {
    const able = signals.filter((signal) => reads(signal, file));
    const film = FILMS.includes(endingOf(file.name));
    const taken = film ? able : able.filter((signal) => !given.has(signal.name)).slice(0, 1);
    const chosen = taken.length ? taken : able.slice(0, 1);
    if (!chosen.length) refused.push(file.name);
    for (const signal of chosen) {
      const own = given.get(signal.name);
      const better = film && own && !FILMS.includes(endingOf(own.name)) && signal.kind === "audio";
      if (!better) given.set(signal.name, file);
    }
  }
  return refused;
}

// The drop zone, and its button: take(files) gets what was dropped, chosen or pasted.
export function acceptFiles(take) {
  const drop = byId("drop");
  const chooser = byId("files");
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    drop.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
  chooser.addEventListener("change", () => {
    if (chooser.files.length) take([...chooser.files]);
    chooser.value = "";
  });
}

// A text area for a signal of text; send(text).
export function textField(signal, send, button) {
  const area = element("textarea", { id: `text-${signal.name}`, placeholder: "Or write here" });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(area.value);
  });
  const form = element("form", {}, element("label", { className: "unseen", htmlFor: area.id }, signal.name), area);
  if (button) form.append(element("p", {}, element("button", { type: "submit", className: "main" }, "Ask the model")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(area.value);
  });
  return { form, value: () => area.value };
}

// A field for each column of a table; send(cells).
export function rowFields(signal, send, button) {
  const fields = signal.columns.slice(0, MOST_FIELDS).map((column, place) => {
    const id = `cell-${signal.name}-${place}`;
    const range = column.low === null ? "" : `${number(column.low)} to ${number(column.high)}`;
    const field =
      column.kind === "category"
        ? element("select", { id }, element("option", { value: "" }, "–"), ...column.categories.map((name) => element("option", { value: name }, name)))
        : element("input", { id, type: "number", step: "any", placeholder: range });
    return { column, field, label: element("label", { htmlFor: id }, column.name) };
  });
  const cells = () =>
    Object.fromEntries(fields.map(({ column, field }) => [column.name, field.value === "" ? null : column.kind === "number" ? Number(field.value) : field.value]));
  const grid = element("div", { className: "fields" }, ...fields.map(({ label, field }) => element("div", {}, label, field)));
  const form = element("form", {}, element("h3", {}, "Or fill in a row"), grid);
  if (button) form.append(element("button", { type: "submit", className: "main" }, "Ask the model"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(cells());
  });
  return { form, value: cells };
}
