"use strict";

const PRINTED_WIDTH = 680; // pixels, of a figure on paper
const PRINTED_HEIGHT = 760; // at most
const plots = JSON.parse(document.getElementById("plots").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// Figures

function schemeLayout(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => (printing ? { "--text": "#000000", "--box": "#ffffff", "--line": "#bbbbbb" }[name]
    : style.getPropertyValue(name).trim());
  const update = {
    "font.color": colour("--text"),
    "hoverlabel.bgcolor": colour("--box"),
    "hoverlabel.font.color": colour("--text"),
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": colour("--text"),
    "modebar.activecolor": colour("--text"),
  };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    update[`${axis}.gridcolor`] = colour("--line");
    update[`${axis}.linecolor`] = colour("--line");
  }
  if (layout.meta) {
    update["coloraxis.colorscale"] = tones(layout).stops;
  }
  return update;
}

function tones(layout) {
  return dark.matches && !printing ? layout.meta.dark : layout.meta.light;
}

function draw(id, layout, more = {}) {
  const text = layout.meta ? { "textfont.color": tones(layout).text } : {};
  Plotly.update(id, text, { ...schemeLayout(layout), ...more });
}

function describeCells(heatmap, { rows, columns, counted: words }) {
  heatmap.customdata = heatmap.z.map((cells, i) => cells.map((_, j) => (
    [rows[i], columns[j], words ? counted(heatmap.customdata[i][j], ...words) : ""]
  )));
}

function drawFigures() {
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  for (const [id, { data, layout }] of Object.entries(plots)) {
    // Where fingers scroll the page, a figure must not take their movement for a zoom.
    layout.dragmode = touch ? false : "zoom";
    if (layout.meta) {
      describeCells(data[0], layout.meta);
    }
    Plotly.newPlot(id, data, layout, config).then(() => draw(id, layout));
  }
}

function redrawFigures() {
  for (const [id, { layout }] of Object.entries(plots)) {
    const room = document.getElementById(id).style.height;
    draw(id, layout, {
      width: printing ? PRINTED_WIDTH : null,
      height: printing ? Math.min(parseInt(room, 10), PRINTED_HEIGHT) : null,
      autosize: !printing,
    });
  }
}

function showStep(step) {
  const visible = plots["figure-training"].data.map((trace) => step === "" || trace.meta === Number(step));
  Plotly.restyle("figure-training", { visible });
  document.getElementById("printed-step").textContent = step || "all";
}

// Tables

function plain(text) {
  return text.normalize("NFC").toLocaleLowerCase();
}

function counted(count, singular, plural) {
  return `${count} ${count === 1 ? singular : plural}`;
}

function search(wanted) {
  const counts = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const names = [...row.querySelectorAll(".name")];
      row.hidden = !names.some((cell) => plain(cell.textContent).includes(plain(wanted)));
      shown += row.hidden ? 0 : 1;
    }
    counts.push(counted(shown, ...{ pairs: ["pair", "pairs"], classes: ["class", "classes"] }[table.id]));
  }
  document.getElementById("found").textContent = wanted ? counts.join(", ") : "";
}

function sortKey(cell) {
  return cell.classList.contains("number") ? Number(cell.dataset.value) : cell.textContent;
}

function compare(left, right) {
  return typeof left === "number" ? left - right : left.localeCompare(right, undefined, { numeric: true });
}

function sortTable(heading) {
  const first = heading.classList.contains("number") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? other : first;
  for (const one of heading.parentElement.cells) {
    one.removeAttribute("aria-sort");
  }
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const column = heading.cellIndex;
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  rows.sort((left, right) => sign * compare(left[0], right[0]));
  body.append(...rows.map(([, row]) => row));
}

// Print: all rows of all tables, all details, figures on white

let opened = [];

function beforePrint() {
  printing = true;
  search("");
  document.documentElement.classList.add("printing");
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((one) => { one.open = true; });
  redrawFigures();
}

function afterPrint() {
  printing = false;
  document.documentElement.classList.remove("printing");
  opened.forEach((one) => { one.open = false; });
  search(box.value.trim());
  redrawFigures();
}

const box = document.getElementById("search");
drawFigures();
dark.addEventListener("change", redrawFigures);
addEventListener("beforeprint", beforePrint);
addEventListener("afterprint", afterPrint);
document.getElementById("step").addEventListener("change", (event) => showStep(event.target.value));
box.addEventListener("input", () => search(box.value.trim()));
for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.querySelector("button").addEventListener("click", () => sortTable(heading));
}
