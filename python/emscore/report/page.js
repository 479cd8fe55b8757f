// What moves on the page: plots, the table of checkpoints, the examples. Texts of models reach the
// page through textContent alone, so that none of them can become markup.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

// Plots

const dark = matchMedia("screen and (prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");

function config() {
  const theme = structuredClone(data.themes[dark.matches ? "dark" : "light"]);
  if (narrow.matches) theme.axis.labelLimit = 96;
  return theme;
}

async function draw() {
  const options = { actions: false, renderer: "svg", ast: true, config: config() };
  for (const place of document.querySelectorAll("[data-plot]")) {
    await vegaEmbed(place, data.plots[place.dataset.plot], options);
    place.dataset.drawn = "yes";
  }
}

// Checkpoints

const PAGE = 25;
const table = { sort: data.columns.findIndex((c) => c.kind === "share"), up: false, page: 0, find: "" };

const percent = (x) =>
  x === null ? "–" : (x * 100).toFixed(x > 0 && x < 0.00995 ? 2 : 1) + "%";

function cell(column, row, at) {
  const value = row[at];
  if (column.kind === "text") return element(at ? "td" : "th", "", value ?? "–");
  if (column.kind === "count") return element("td", "number", value === null ? "–" : value.toLocaleString("en"));
  if (column.kind === "share") return element("td", "number strong", percent(value));
  if (column.kind === "interval") return element("td", "nowrap", value ? `${percent(value[0])} to ${percent(value[1])}` : "–");
  return picture(value);
}

function picture(value) {
  const place = element("td", "picture");
  if (!value) return place;
  const [rate, low, high] = value.map((x) => (x / data.scale) * 100);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, x1, x2, y1, y2] of [["interval", low, high, 5, 5], ["rate", rate, rate, 0.5, 9.5]]) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", name);
    for (const [key, at] of Object.entries({ x1, x2, y1, y2 })) line.setAttribute(key, at);
    svg.append(line);
  }
  place.append(svg);
  return place;
}

function order(a, b) {
  const [x, y] = [a[table.sort], b[table.sort]];
  if (x === null || y === null) return (x === null) - (y === null); // nothing comes last, both ways
  const way = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
  return table.up ? way : -way;
}

function showTable() {
  const words = table.find.toLowerCase();
  const texts = data.columns.flatMap((c, at) => (c.kind === "text" ? [at] : []));
  const found = data.rows
    .filter((row) => texts.some((at) => String(row[at] ?? "").toLowerCase().includes(words)))
    .sort(order);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  table.page = Math.min(table.page, pages - 1);
  const shown = found.slice(table.page * PAGE, (table.page + 1) * PAGE);
  byId("checkpoint-table").tBodies[0].replaceChildren(
    ...shown.map((row) => {
      const line = element("tr");
      line.append(...data.columns.map((column, at) => cell(column, row, at)));
      return line;
    }),
  );
  byId("checkpoint-count").textContent = `${found.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")}`;
  for (const [at, head] of [...byId("checkpoint-table").tHead.rows[0].cells].entries()) {
    if (at === table.sort) head.setAttribute("aria-sort", table.up ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  const [back, place, on] = byId("checkpoint-pages").children;
  byId("checkpoint-pages").hidden = pages === 1;
  back.disabled = table.page === 0;
  on.disabled = table.page === pages - 1;
  place.textContent = `${table.page + 1} of ${pages}`;
}

function buildTable() {
  const head = element("tr");
  data.columns.forEach((column, at) => {
    const place = element("th", ["count", "share"].includes(column.kind) ? "number" : column.kind === "picture" ? "picture" : "");
    place.scope = "col";
    if (column.kind === "picture") {
      place.append(element("span", "", "0%"), element("span", "", percent(data.scale)));
    } else if (column.kind === "interval") {
      place.textContent = column.label;
    } else {
      const button = element("button", "", column.label);
      button.type = "button";
      button.addEventListener("click", () => {
        table.up = table.sort === at ? !table.up : column.kind === "text";
        table.sort = at;
        table.page = 0;
        showTable();
      });
      place.append(button);
    }
    head.append(place);
  });
  byId("checkpoint-table").tHead.append(head);
  const turn = (by, label) => {
    const button = element("button", "", label);
    button.type = "button";
    button.addEventListener("click", () => {
      table.page += by;
      showTable();
    });
    return button;
  };
  byId("checkpoint-pages").append(turn(-1, "Previous"), element("span"), turn(1, "Next"));
  byId("checkpoint-search").addEventListener("input", (event) => {
    table.find = event.target.value;
    table.page = 0;
    showTable();
  });
  showTable();
}

// Examples

// Puts a text into a node, with what was searched for marked.
function marked(node, text, words) {
  const lower = text.toLowerCase();
  let at = 0;
  // Where lower-casing changes lengths, places would not agree: then nothing is marked.
  while (words && lower.length === text.length) {
    const next = lower.indexOf(words, at);
    if (next < 0) break;
    node.append(text.slice(at, next), element("mark", "", text.slice(next, next + words.length)));
    at = next + words.length;
  }
  node.append(text.slice(at));
  return node;
}

const MORE = 20;
let shownExamples = MORE;

function showExamples() {
  const words = byId("example-search").value.toLowerCase();
  const [kind, group] = [byId("example-kind").value, byId("example-group").value];
  const found = data.examples.filter(
    (one) =>
      (!kind || one.kind === kind) &&
      (!group || one.group === group) &&
      `${one.question ?? ""}\n${one.response ?? ""}`.toLowerCase().includes(words),
  );
  byId("example-list").replaceChildren(
    ...found.slice(0, shownExamples).map((one) => {
      const card = element("article");
      const about = [one.kind, one.group, one.checkpoint].filter(Boolean);
      about.push(`aligned ${one.aligned}`, `coherent ${one.coherent}`);
      const meta = element("p", "meta");
      // Each by itself: a name that is written from right to left turns no number beside it around.
      about.forEach((text, at) => meta.append(at ? " · " : "", element("bdi", "", text)));
      card.append(
        meta,
        marked(element("p", "question"), one.question ?? "", words),
        marked(element("p", "answer"), one.response ?? "", words),
      );
      return card;
    }),
  );
  byId("example-count").textContent = `${found.length} of ${data.examples.length}`;
  byId("example-more").hidden = found.length <= shownExamples;
}

function buildExamples() {
  const groups = [...new Set(data.examples.map((one) => one.group))];
  byId("example-group").append(...groups.map((name) => new Option(name, name)));
  for (const id of ["example-search", "example-kind", "example-group"])
    byId(id).addEventListener("input", () => {
      shownExamples = MORE;
      showExamples();
    });
  byId("example-more").addEventListener("click", () => {
    shownExamples += MORE;
    showExamples();
  });
  showExamples();
}

if (byId("checkpoint-table")) buildTable();
buildExamples();
draw();
dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
