"use strict";
// The page by which a model is tried. Data becomes text alone: no markup is made of it.

const at = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function field(text, input) {
  return make("label", {}, text, input);
}

function fault(text) {
  at("fault").textContent = text;
  at("fault").hidden = !text;
}

async function refused(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered ${response.status}`;
  }
}

// ask the server; what it says when it refuses is shown
async function asked(path, options) {
  fault("");
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name !== "AbortError") fault("the server does not answer");
    return null;
  }
  if (response.ok) return response;
  fault(await refused(response));
  return null;
}

const share = (p) => `${(100 * p).toFixed(p < 0.0995 ? 2 : 1)} %`;

function answered(title, ...children) {
  at("answer").replaceChildren(make("h2", {}, title), ...children);
  at("answer").hidden = false;
}

function number(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : String(value);
}

function small(value) {
  return value && value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

function bars(likeliest) {
  const list = make("dl", { class: "bars" });
  likeliest.forEach(({ label, probability }, index) => {
    const first = index ? "" : "first";
    const bar = make("div", { class: "bar" });
    bar.style.width = `${100 * probability}%`;
    list.append(
      make("dt", { class: first }, label),
      make("dd", { class: `track ${first}`, "aria-hidden": "true" }, bar),
      make("dd", { class: "share" }, share(probability)),
    );
  });
  return list;
}

// ---- why: what speaks for an answer is of one hue, what speaks against it of another

function why(options) {
  const ask = make("button", { type: "button", class: "quiet" }, "Why?");
  const place = make("div", { class: "why" }, ask);
  ask.addEventListener("click", async () => {
    ask.disabled = true;
    const response = await asked("/explain", { method: "POST", ...options });
    ask.disabled = false;
    if (response) place.replaceChildren(...because(await response.json()));
  });
  return place;
}

function tint(element, value, most) {
  const hue = value > 0 ? "11 110 99" : "200 95 20";
  element.style.backgroundColor = `rgb(${hue} / ${most ? 0.75 * Math.abs(value) / most : 0})`;
}

function because(found) {
  const name = found.output === undefined ? "" : ` ${JSON.stringify(String(found.output))}`;
  const key = make("p", { class: "hint" }, `green speaks for${name}, orange against it; by ${found.method}, unchecked`);
  const head = make("h2", {}, "Why");
  if (found.kind === "pixels") return [head, map(found.values), key];
  if (found.kind === "tokens") return [head, words(found.tokens), key];
  return [head, adds(found.columns), key];
}

function map(values) {
  const most = Math.max(...values.flat().map(Math.abs));
  const canvas = make("canvas", { width: values[0].length, height: values.length, role: "img", "aria-label": "map of what speaks for the answer" });
  const pen = canvas.getContext("2d");
  values.forEach((row, y) =>
    row.forEach((value, x) => {
      pen.fillStyle = `rgb(${value > 0 ? "11 110 99" : "200 95 20"} / ${most ? Math.abs(value) / most : 0})`;
      pen.fillRect(x, y, 1, 1);
    }),
  );
  return canvas;
}

function words(tokens) {
  const most = Math.max(...tokens.map((token) => Math.abs(token.adds)));
  return make("p", { class: "said" }, ...tokens.map((token) => {
    const word = make("span", { title: token.adds }, token.text);
    tint(word, token.adds, most);
    return word;
  }));
}

function adds(columns) {
  const most = Math.max(...columns.map((column) => Math.abs(column.adds)));
  const list = make("dl", { class: "bars" });
  for (const column of [...columns].sort((a, b) => Math.abs(b.adds) - Math.abs(a.adds)).slice(0, 12)) {
    const bar = make("div", { class: `bar ${column.adds > 0 ? "for" : "against"}` });
    bar.style.width = `${most ? (100 * Math.abs(column.adds)) / most : 0}%`;
    list.append(
      make("dt", {}, `${column.name} = ${column.value}`),
      make("dd", { class: "track", "aria-hidden": "true" }, bar),
      make("dd", { class: "share" }, (column.adds > 0 ? "+" : "−") + small(Math.abs(column.adds))),
    );
  }
  return list;
}

function shown(prediction, milliseconds, options) {
  const took = make("p", { class: "took" }, `answered in ${milliseconds.toFixed(0)} ms`);
  if (prediction.likeliest) {
    const sure = make("small", {}, share(prediction.probability));
    const best = make("p", { class: "best" }, prediction.predicted, sure);
    answered("It is probably", best, bars(prediction.likeliest), took, why(options));
    return;
  }
  const lines = Object.entries(prediction).map(([name, value]) =>
    make("p", { class: "best" }, number(value), make("small", {}, name)),
  );
  answered("Predicted", ...lines, took, why(options));
}

async function predicted(options) {
  const begun = performance.now();
  const response = await asked("/predict", { method: "POST", ...options });
  if (response) shown((await response.json()).predictions[0], performance.now() - begun, options);
}

// ---- pictures

function pictures() {
  const chosen = make("input", { type: "file", accept: "image/*", "aria-label": "picture" });
  const drop = make("label", { class: "drop" });
  const invite = make("span", {}, "Drop a picture here, paste one, or ", make("b", {}, "choose a file"));
  drop.append(chosen, invite);
  at("ask").append(drop);
  let address = "";
  const take = (file) => {
    if (!file) return;
    URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    const image = make("img", { src: address, alt: file.name || "the picture" });
    drop.replaceChildren(chosen, image, make("span", {}, "another? drop it, or ", make("b", {}, "choose")));
    predicted({ headers: { "content-type": file.type || "application/octet-stream" }, body: file });
  };
  chosen.addEventListener("change", () => take(chosen.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  at("command").textContent =
    `curl -H 'content-type: image/png' --data-binary @picture.png ${location.origin}/predict`;
}

// ---- rows

function cell(column, index) {
  const usual = column.usual === null ? "" : number(column.usual);
  if (!column.number && column.values.length && column.values.length <= 100) {
    const options = column.values.map((value) => make("option", { value }, value));
    return make("select", { name: index }, make("option", { value: "" }, "– missing –"), ...options);
  }
  if (column.number) return make("input", { name: index, inputmode: "decimal", placeholder: usual });
  return make("input", { name: index });
}

function rows(about) {
  const inputs = about.columns.map(cell);
  const labels = about.columns.map((column, index) => field(column.name, inputs[index]));
  const ask = make("button", { type: "submit" }, "Predict");
  const usual = make("button", { type: "button", class: "quiet" }, "Fill in usual values");
  const empty = make("p", { class: "hint" }, "What is left empty counts as missing.");
  at("ask").append(make("div", { class: "fields" }, ...labels), make("div", { class: "row" }, ask, usual), empty);
  usual.addEventListener("click", () => {
    about.columns.forEach((column, index) => {
      if (column.usual !== null) inputs[index].value = number(column.usual);
      else if (column.values.length) inputs[index].value = column.values[0];
    });
  });
  const row = () =>
    Object.fromEntries(about.columns.map((column, index) => [column.name, inputs[index].value || null]));
  const told = () => {
    const body = JSON.stringify({ rows: [row()] }).replaceAll("'", "'\\''");
    at("command").textContent =
      `curl -H 'content-type: application/json' -d '${body}' ${location.origin}/predict`;
  };
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = JSON.stringify({ rows: [row()] });
    predicted({ headers: { "content-type": "application/json" }, body });
  });
  at("ask").addEventListener("input", told);
  told();
}

// ---- text

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const lines = held.split("\n\n");
    held = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

function text(about) {
  const prompt = make("textarea", { id: "prompt", spellcheck: "false", placeholder: "Begin a text …" });
  const settings = {
    max_tokens: make("input", { type: "number", min: 1, max: about.context, value: Math.min(100, about.context - 1) }),
    temperature: make("input", { type: "number", min: 0, max: 2, step: 0.1, value: 0.8 }),
    top_p: make("input", { type: "number", min: 0.05, max: 1, step: 0.05, value: 0.95 }),
    seed: make("input", { type: "number", min: 0, value: 0 }),
  };
  const names = { max_tokens: "most tokens", temperature: "temperature", top_p: "top-p", seed: "seed" };
  const fields = Object.entries(settings).map(([name, input]) => field(names[name], input));
  const go = make("button", { type: "submit" }, "Write");
  const stop = make("button", { type: "button", class: "quiet" }, "Stop");
  stop.disabled = true;
  at("ask").append(
    field("prompt", prompt),
    make("div", { class: "fields few" }, ...fields),
    make("div", { class: "row" }, go, stop),
  );
  let control = null;
  stop.addEventListener("click", () => control && control.abort());
  const body = (more) => {
    const numbers = Object.entries(settings).map(([name, input]) => [name, Number(input.value)]);
    return { prompt: prompt.value, ...Object.fromEntries(numbers), ...more };
  };
  const told = () => {
    const said = JSON.stringify(body({})).replaceAll("'", "'\\''");
    at("command").textContent =
      `curl -H 'content-type: application/json' -d '${said}' ${location.origin}/v1/completions`;
  };
  at("ask").addEventListener("input", told);
  told();
  at("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    control = new AbortController();
    [go.disabled, stop.disabled] = [true, false];
    await write(prompt.value, body({ stream: true, stream_options: { include_usage: true } }), control.signal);
    [go.disabled, stop.disabled] = [false, true];
  });
}

async function write(prompt, body, signal) {
  const begun = performance.now();
  const response = await asked("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response) return;
  const fresh = make("span", { class: "fresh live" });
  const took = make("p", { class: "took" }, "…");
  const said = make("p", { class: "said" }, make("span", { class: "prompt" }, prompt), fresh);
  const reason = why({ headers: { "content-type": "application/json" }, body: JSON.stringify({ prompt }) });
  answered("It goes on", said, took, ...(prompt ? [reason] : []));
  let first = 0;
  let ended = "stopped";
  let tokens = 0;
  try {
    for await (const event of events(response)) {
      first = first || performance.now();
      for (const choice of event.choices) {
        fresh.append(choice.text);
        ended = choice.finish_reason || ended;
      }
      if (event.usage) tokens = event.usage.completion_tokens;
    }
  } catch (error) {
    if (error.name !== "AbortError") fault("the answer broke off");
  }
  fresh.classList.remove("live");
  const seconds = (performance.now() - begun) / 1000;
  const rate = tokens ? `${tokens} tokens, ${(tokens / seconds).toFixed(0)} a second; ` : "";
  const ending = { length: "its length was reached", stop: "the text ends here" }[ended] || "stopped";
  took.textContent = `${rate}the first after ${first ? (first - begun).toFixed(0) : "–"} ms; ${ending}`;
}

// ---- the page

const LEADS = {
  pictures: (about) => `It looks at a picture and says which of ${about.labels.length} classes it shows.`,
  rows: (about) =>
    about.task === "classification"
      ? `It reads a row of ${about.columns.length} columns and says which of ${about.labels.length} classes it is.`
      : `It reads a row of ${about.columns.length} columns and predicts ${about.labels.join(", ")}.`,
  text: (about) => `It goes on with a text; it sees ${about.context} tokens at once.`,
};

async function begin() {
  const response = await asked("/about", {});
  if (!response) return;
  const about = await response.json();
  at("name").textContent = about.name;
  document.title = `${about.name} – zafu`;
  at("runtime").textContent = about.runtime;
  at("lead").textContent = LEADS[about.takes](about);
  ({ pictures, rows, text })[about.takes](about);
  for (const id of ["runtime", "ask", "again"]) at(id).hidden = false;
}

begin();
