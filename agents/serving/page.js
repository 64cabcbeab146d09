// The page: asks the server that sent it, and shows its answers. Texts are set by textContent alone, never as HTML.
"use strict";

const MAX_LABELS = 10; // bars of a run
const form = document.querySelector("form");
const answers = document.querySelector("#answers");
let runs = [];
let asked = 0; // the number of the newest question

function element(parent, tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}

const asJSON = async (path, body) => (await post(path, body)).json();

function chosen() {
  const names = [...document.querySelectorAll("#runs input:checked")].map((box) => box.value);
  return runs.filter((run) => names.includes(run.name));
}

function showRuns() {
  const place = document.querySelector("#runs");
  for (const run of runs) {
    const label = element(place, "label");
    const box = element(label, "input");
    Object.assign(box, { type: "checkbox", value: run.name, checked: true });
    box.addEventListener("change", showFields);
    element(label, "span", "", ` ${run.name}`);
  }
  showFields();
}

// A box for each field of any of the chosen runs; what has been typed into one stays.
function showFields() {
  const place = document.querySelector("#fields");
  const old = new Map([...place.querySelectorAll("textarea")].map((box) => [box.name, box.value]));
  place.replaceChildren();
  for (const field of new Set(chosen().flatMap((run) => run.fields))) {
    const label = element(place, "label", "", field);
    const box = element(label, "textarea");
    Object.assign(box, { name: field, rows: field === "title" ? 1 : 5, value: old.get(field) ?? "" });
    const masks = chosen().filter((run) => run.mask && run.fields.includes(field)).map((run) => run.mask);
    if (masks.length) box.placeholder = `a text with the gap ${masks[0]}`;
  }
}

function bar(parent, name, share) {
  const line = element(parent, "div", "bar");
  element(line, "span", "name", name).title = name;
  const fill = element(element(line, "div", "track"), "div", "fill");
  fill.style.width = `${100 * share}%`;
  element(line, "span", "value", share.toFixed(4));
}

function truncated(parent, answer) {
  if (answer.truncated) element(parent, "p", "note", "The text is longer than what the run reads, and was cut.");
}

async function showLabels(run, body, parent) {
  const line = (await asJSON("/predict", body)).predictions[0];
  if (run.kind === "number") {
    element(parent, "p", "number", String(line.predicted));
  } else {
    const ordered = Object.entries(line.probabilities).sort((a, b) => b[1] - a[1]);
    for (const [label, share] of ordered.slice(0, MAX_LABELS)) bar(parent, label, share);
    if (ordered.length > MAX_LABELS) element(parent, "p", "note", `and ${ordered.length - MAX_LABELS} more labels`);
  }
  truncated(parent, line);
  if (run.words) await showWords(body, parent);
}

// Blue: the word speaks for what is predicted; orange: against it.
async function showWords(body, parent) {
  const words = (await asJSON("/words", body)).words;
  const most = Math.max(...words.map((each) => Math.abs(each.score)), 1e-9);
  const text = element(parent, "p", "words");
  let field = null;
  for (const each of words) {
    if (field !== null) text.append(each.field === field ? " " : "\n");
    field = each.field;
    const mark = element(text, "mark", "", each.word);
    const strength = (0.8 * Math.abs(each.score)) / most;
    mark.style.backgroundColor = each.score > 0 ? `rgba(60, 130, 255, ${strength})` : `rgba(255, 140, 0, ${strength})`;
    mark.title = `gradient x input: ${each.score.toFixed(4)}`;
  }
  element(parent, "p", "note", "Blue: words that speak for what is predicted; orange: against it.");
}

async function showGaps(run, body, parent) {
  for (const [number, tokens] of (await asJSON("/fill", body)).gaps.entries()) {
    element(parent, "p", "note", `gap ${number + 1}`);
    for (const each of tokens) bar(parent, each.token, each.probability);
  }
}

// JSON lines: the text as it grows, and at last the answer.
async function showText(run, body, parent) {
  const reader = (await post("/generate", body)).body.pipeThrough(new TextDecoderStream()).getReader();
  const text = element(parent, "p", "text");
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines.map(JSON.parse)) {
      if (line.error) throw new Error(line.error);
      text.textContent = line.text ?? line.predicted;
      if ("predicted" in line) showAttention(line, parent);
    }
  }
}

function showAttention(line, parent) {
  truncated(parent, line);
  element(parent, "p", "note", `log-probability ${line.log_probability.toFixed(3)}`);
  const table = element(element(parent, "div", "scroll"), "table", "attention");
  const { source, target, weights } = line.attention;
  const head = element(table, "tr");
  for (const token of ["", ...source]) element(head, "th", "", token);
  for (const [row, token] of target.entries()) {
    const cells = element(table, "tr");
    element(cells, "th", "", token);
    for (const weight of weights[row]) {
      const cell = element(cells, "td", "", weight.toFixed(2).replace(/^0/, ""));
      cell.style.backgroundColor = `rgba(51, 102, 204, ${0.8 * weight})`;
    }
  }
  element(parent, "p", "note", "Cross-attention of the last layer, averaged over heads: which source tokens each token looks at.");
}

const SHOW = { labels: showLabels, number: showLabels, gaps: showGaps, text: showText };

async function show(run, values) {
  const section = element(answers, "section");
  section.dataset.run = run.name;
  element(section, "h2", "", run.name);
  const text = run.fields.length === 1 ? values[run.fields[0]] : Object.fromEntries(run.fields.map((f) => [f, values[f]]));
  try {
    await SHOW[run.kind](run, { run: run.name, text }, section);
  } catch (error) {
    element(section, "p", "error", error.message);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = ++asked;
  answers.replaceChildren();
  answers.setAttribute("aria-busy", "true");
  const values = Object.fromEntries(new FormData(form));
  await Promise.all(chosen().map((run) => show(run, values)));
  if (number === asked) answers.removeAttribute("aria-busy");
});

form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
});

fetch("/runs")
  .then((response) => response.json())
  .then((answer) => {
    runs = answer.runs;
    showRuns();
  });
