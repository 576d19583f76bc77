// Search, which reaches tables, classes and the confusion matrix

const box = document.getElementById("search");

function plain(text) {
  return text.normalize("NFC").toLocaleLowerCase();
}

function filterTables(wanted) {
  const counts = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const names = [...row.querySelectorAll(".own")];
      row.hidden = !names.some((cell) => plain(cell.textContent).includes(plain(wanted)));
      shown += row.hidden ? 0 : 1;
    }
    const words = { pairs: ["pair", "pairs"], "table-of-classes": ["class", "classes"] }[table.id];
    counts.push(counted(shown, ...words));
  }
  document.getElementById("found").textContent = wanted ? counts.join(", ") : "";
}

function search(wanted) {
  filterTables(wanted);
  const { names } = data.confusion;
  const exact = names.findIndex((name) => plain(name) === plain(wanted));
  const labels = [...names.keys()].filter((label) => plain(names[label]).includes(plain(wanted)));
  const found = exact >= 0 ? [exact] : labels;
  matrices.confusion.mark(wanted ? found : []);
  if (wanted && found.length === 1) {
    choose(document.getElementById(`class-${found[0]}`));
  }
}

// Sorting

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
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[heading.cellIndex]), row]);
  rows.sort((left, right) => sign * compare(left[0], right[0]));
  body.append(...rows.map(([, row]) => row));
}

// One class, opened: the one that was asked for, at first the one of the lowest accuracy

function choose(card) {
  for (const one of document.querySelectorAll(".card")) {
    one.classList.toggle("chosen", one === card);
    one.open = one === card;
  }
}

function chooseAsked() {
  const asked = document.querySelector(`.card[id="${CSS.escape(location.hash.slice(1))}"]`);
  if (asked) {
    choose(asked);
    asked.scrollIntoView({ block: "nearest" });
  }
}

function lowest() {
  const cells = [...document.querySelectorAll("#table-of-classes tbody td:nth-child(4)")];
  const values = cells.map((cell) => Number(cell.dataset.value));
  return document.getElementById(`class-${values.indexOf(Math.min(...values))}`);
}

// Print: all rows of all tables, all details

let opened = [];

function beforePrint() {
  filterTables("");
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((one) => { one.open = true; });
}

function afterPrint() {
  opened.forEach((one) => { one.open = false; });
  filterTables(box.value.trim());
}

addEventListener("beforeprint", beforePrint);
addEventListener("afterprint", afterPrint);
box.addEventListener("input", () => search(box.value.trim()));
for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.querySelector("button").addEventListener("click", () => sortTable(heading));
}
choose(lowest());
chooseAsked();
addEventListener("hashchange", chooseAsked);
document.getElementById("table-of-classes").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link) {
    choose(document.querySelector(link.hash));
  }
});
