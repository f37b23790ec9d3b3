"use strict";
// Draws the figures in the colours of the theme; sorts and filters tables. Names arrive escaped.

const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const narrow = window.matchMedia("(max-width: 600px)");

function themed(value) {
  // "@ink" and its like stand for the page's own colours
  if (typeof value === "string" && /^@(ink|grey|line|paper)$/.test(value)) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + value.slice(1)).trim();
  }
  if (Array.isArray(value)) return value.map(themed);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, themed(inner)]));
  }
  return value;
}

function draw() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    let figure = figures[place.dataset.figure];
    if (place.dataset.figure === "waterfalls") figure = figure[waterfallOf.selectedIndex];
    const { data, layout } = themed(figure);
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: themed("@ink"), size: 12, family: "system-ui, sans-serif" },
      margin: narrow.matches ? { l: 52, r: 8, t: 32, b: 44 } : { l: 64, r: 16, t: 32, b: 48 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: themed("@grey"), activecolor: themed("@ink") },
      hoverlabel: { bgcolor: themed("@paper"), font: { color: themed("@ink") }, bordercolor: themed("@grey") },
    });
    if (place.dataset.figure === "waterfalls" && narrow.matches) layout.xaxis.range[1] *= 1.5; // room for the words
    place.style.height = `${layout.height}px`;
    Plotly.react(place, data, layout, {
      responsive: true,
      displaylogo: false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
  }
}

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const numeric = head.classList.contains("n");
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[column];
    return numeric ? Number(cell.dataset.v) : cell.textContent;
  };
  const rows = Array.from(table.tBodies[0].rows);
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return sign * (numeric ? x - y : x.localeCompare(y, undefined, { numeric: true }));
  });
  table.tBodies[0].append(...rows);
}

function filterRows(table, words, output) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const bar = table.querySelector("td.bar");
  let shown = 0;
  let share = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
    if (row.hidden) continue;
    shown += 1;
    if (bar) share += Number(row.cells[bar.cellIndex].dataset.v);
  }
  output.value = `${shown} of ${table.tBodies[0].rows.length} rows, ${(100 * share).toFixed(1)} % of the latency`;
}

for (const table of document.querySelectorAll("table.data")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}
for (const input of document.querySelectorAll("input[type=search]")) {
  const table = document.getElementById(input.getAttribute("aria-controls"));
  const output = input.closest(".tool").querySelector("output");
  input.addEventListener("input", () => filterRows(table, input.value, output));
}
const waterfallOf = document.getElementById("waterfall-of");
waterfallOf.addEventListener("change", draw);
dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
draw();
document.documentElement.dataset.ready = "yes";
