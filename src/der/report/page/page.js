// Matrices with a cursor, zoom and a slider over steps; search, sorting, the class that is shown, print.

const SMALLEST_WINDOW = 5; // cells across, at the largest zoom
const SEARCHED = 14; // cells around a class that was searched for
const MOST_THUMBS = 6;
const GRADES = 16; // of shades, as der.report.matrices has them

const counted = (count, singular, plural) => `${count} ${count === 1 ? singular : plural}`;

// Percent and half of Wilson's 95 % interval, in points, as der.summary.verdict has it.
function withError(percent, images, text = percent.toFixed(1)) {
  const share = percent / 100, z2 = 1.959963984540054 ** 2;
  const error = 195.9963984540054 / (1 + z2 / images) * Math.sqrt(share * (1 - share) / images + z2 / (4 * images ** 2));
  return `${text} % ±${error.toFixed(1)}`;
}

// Percent of a count, as der.summary.series has it: halves are rounded up.
function share(count, of, decimals = 0) {
  const scale = 10 ** decimals;
  return (Math.floor((200 * scale * count + of) / (2 * of)) / scale).toFixed(decimals);
}

class Matrix {
  constructor(figure, describe) {
    this.figure = figure;
    this.describe = describe; // (row, column) -> {title, rows, more}, or null where there is nothing
    this.cells = figure.querySelector(".cells");
    this.cursor = figure.querySelector(".cursor");
    this.count = Number(figure.style.getPropertyValue("--count"));
    this.place = [this.count - 1, this.count - 1];
    this.zoom = 1;
    this.corner = [0, 0]; // the cell in the top left corner: row, column
    followPointer(this.cells, (event) => this.move(event), () => this.leave());
    this.cells.addEventListener("pointerdown", ({ clientX, clientY }) => { this.drag = this.zoom > 1 && [clientX, clientY, ...this.corner]; });
    this.cells.addEventListener("dblclick", (event) => this.zoomBy(2, this.cellAt(event)));
    addEventListener("pointerup", () => { this.drag = null; });
    figure.addEventListener("blur", () => this.leave());
    figure.addEventListener("focus", () => figure.matches(":focus-visible") && this.goByKey(...this.place));
    figure.addEventListener("keydown", (event) => this.press(event));
  }
  cellAt({ clientX, clientY }) {
    const { left, top, width, height } = this.cells.getBoundingClientRect(), [row, column] = this.corner;
    const window = this.count / this.zoom;
    const place = [row + (clientY - top) / height * window, column + (clientX - left) / width * window];
    return place.map((one) => clamp(Math.floor(one), 0, this.count - 1));
  }
  move(event) {
    if (!this.drag || !event.buttons) {
      this.go(...this.cellAt(event), event.clientX, event.clientY);
      return;
    }
    const [x, y, row, column] = this.drag, cell = this.cells.clientWidth * this.zoom / this.count;
    this.show(row - (event.clientY - y) / cell, column - (event.clientX - x) / cell);
    this.leave();
  }
  press(event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const factor = { "+": 2, "-": 0.5 }[event.key];
    if (steps) {
      event.preventDefault();
      const to = this.place.map((one, axis) => clamp(one + steps[axis], 0, this.count - 1));
      this.reveal(...to);
      this.goByKey(...to);
    } else if (factor) {
      this.zoomBy(factor);
      this.goByKey(...this.place);
    } else if (event.key === "Escape") {
      this.leave();
    }
  }
  go(row, column, x, y) {
    this.place = [row, column];
    this.cursor.style.setProperty("--row", row);
    this.cursor.style.setProperty("--column", column);
    this.cursor.hidden = false;
    const said = this.describe(row, column), box = this.cursor.getBoundingClientRect();
    (said ? showTip : hideTip)(x ?? box.right, y ?? box.bottom, said?.title, said?.rows, ...(said?.more ?? []));
  }
  // Where no pointer is the page has to follow, and only then the tip, which scrolling hides.
  goByKey(row, column) {
    this.go(row, column);
    this.cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
    afterScrolling(() => this.cursor.hidden || this.go(...this.place));
  }
  leave() {
    this.cursor.hidden = true;
    hideTip();
  }
  // Zooms around a cell; 0 shows all again.
  zoomBy(factor, [row, column] = this.place) {
    this.zoom = factor === 0 ? 1 : clamp(this.zoom * factor, 1, Math.max(this.count / SMALLEST_WINDOW, 1));
    const half = this.count / this.zoom / 2;
    this.show(row + 0.5 - half, column + 0.5 - half);
  }
  reveal(row, column) {
    const window = this.count / this.zoom, [top, left] = this.corner;
    this.show(clamp(top, row + 1 - window, row), clamp(left, column + 1 - window, column));
  }
  show(row, column) {
    const { figure, count, zoom } = this, last = count - count / zoom;
    this.corner = [clamp(row, 0, last), clamp(column, 0, last)];
    for (const [name, value] of [["zoom", zoom], ["y", this.corner[0] / count], ["x", this.corner[1] / count]]) {
      figure.style.setProperty(`--${name}`, value);
    }
    figure.classList.toggle("zoomed", zoom > 1);
    // All names are shown where a cell is as high as they.
    const cell = this.cells.clientHeight * zoom / count;
    figure.classList.toggle("close", zoom > 1 && cell >= parseFloat(getComputedStyle(figure).fontSize));
  }
  // Marks the rows and columns of some classes, and shows the first of them.
  mark(labels) {
    for (const names of this.figure.querySelectorAll(".names")) {
      names.querySelectorAll(".plane span").forEach((name, label) => name.classList.toggle("found", labels.includes(label)));
    }
    for (const band of this.figure.querySelectorAll(".band")) {
      band.hidden = labels.length === 0;
      band.style.setProperty("--at", labels[0] ?? 0);
    }
    this.zoom = 1;
    this.zoomBy(labels.length && Math.max(this.count / SEARCHED, 1), [labels[0], labels[0]]);
  }
}

function describeForgetting({ names, accuracy, images }) {
  return (after, of) => {
    const now = accuracy[after][of], lost = accuracy[of][of] - now;
    return of > after ? null : { title: names[of], rows: [
      [`after step ${after + 1}`, withError(now, images[of])],
      ["when they were new", withError(accuracy[of][of], images[of])],
      [Number(lost.toFixed(1)) < 0 ? "gained" : "lost", `${Math.abs(lost).toFixed(1)} points`],
    ] };
  };
}

function readCounts(sparse, seen) {
  const counts = new Map();
  for (let index = 0, place = 0; index < sparse.length; index += 2) {
    place += sparse[index];
    counts.set(`${Math.floor(place / seen)},${place % seen}`, sparse[index + 1]);
  }
  return counts;
}

// Pictures of a class that was taken for another; ``shots`` has place, the class it was taken for, percent of each.
function thumbs({ sheets, columns }, shots, row, column) {
  const [side, pitch, width, height] = sheets[row];
  return shots.filter(([, taken]) => taken === column).slice(0, MOST_THUMBS).map(([place, , percent]) => {
    const thumb = make("span", "thumb");
    Object.assign(thumb.style, {
      width: `${side}px`, height: `${side}px`,
      backgroundImage: `url(${document.getElementById(`mistakes-${row}`).src})`, backgroundSize: `${width}px ${height}px`,
      backgroundPosition: `-${place % columns * pitch}px -${Math.floor(place / columns) * pitch}px`,
    });
    thumb.title = `${percent} %`;
    thumb.dataset.place = place;
    return thumb;
  });
}

function describeConfusion(confusion, shown) {
  return (row, column) => {
    const { counts, shots, seen } = shown();
    if (row >= seen || column >= seen) {
      return { title: "not taught yet", rows: [] };
    }
    const { names, images } = confusion, count = counts.get(`${row},${column}`) ?? 0;
    const percent = withError(100 * count / images[row], images[row], share(count, images[row], 1));
    const of = `${count} of ${counted(images[row], "image", "images")}`;
    if (row === column) {
      return { title: names[row], rows: [["recognised", of], ["", percent]] };
    }
    const pictures = thumbs(confusion, shots[row] ?? [], row, column);
    const more = pictures.length ? [make("div", "thumbs", ...pictures)] : [];
    return { title: `${names[row]} taken for ${names[column]}`, rows: [[of, percent]], more };
  };
}

function writeNumbers(figure, { images, texts }, { counts }) {
  figure.querySelector(".numbers").replaceChildren(...[...counts].map(([place, count]) => {
    const [row, column] = place.split(",").map(Number);
    const grade = Math.min(Math.floor(GRADES * Math.sqrt(count / images[row])), GRADES - 1) + (row === column ? GRADES : 0);
    const number = make("b", "", 200 * count < images[row] ? "<1" : share(count, images[row]));
    for (const [name, value] of Object.entries({ row, column, light: texts[grade][0], dark: texts[grade][1] })) {
      number.style.setProperty(`--${name}`, value);
    }
    return number;
  }));
}

function setUpConfusion(figure, confusion) {
  const steps = confusion.steps.map(({ step, counts, ...rest }) => {
    const seen = confusion.sizes[step - 1];
    return { step, seen, counts: readCounts(counts, seen), ...rest };
  });
  let current = steps.at(-1);
  const matrix = new Matrix(figure, describeConfusion(confusion, () => current));
  const slider = document.getElementById("confusion-step");
  slider?.addEventListener("input", () => {
    current = steps[Number(slider.value)];
    matrix.place = matrix.place.map((one) => Math.min(one, current.seen - 1)); // what is zoomed to was taught
    matrix.reveal(...matrix.place);
    for (const scheme of ["light", "dark"]) {
      figure.querySelector(`.cells .${scheme}`).src = current[scheme];
    }
    slider.parentElement.querySelector("output").textContent = current.step;
    slider.setAttribute("aria-valuetext", `step ${current.step}`);
    if (confusion.texts) {
      writeNumbers(figure, confusion, current);
    }
  });
  return matrix;
}

const matrices = { confusion: setUpConfusion(document.getElementById("figure-confusion"), data.confusion) };
for (const figure of document.querySelectorAll("#figure-accuracy_matrix")) {
  matrices.accuracy_matrix = new Matrix(figure, describeForgetting(data.accuracy_matrix));
}
for (const button of document.querySelectorAll("[data-by]")) {
  button.addEventListener("click", () => matrices[button.parentElement.dataset.zoom].zoomBy(Number(button.dataset.by)));
}

// Search, which reaches tables, classes and the confusion matrix
const box = document.getElementById("search");
const plain = (text) => text.normalize("NFC").toLocaleLowerCase();

function filterTables(wanted) {
  const counts = [...document.querySelectorAll("table.sortable")].map((table) => {
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      row.hidden = ![...row.querySelectorAll(".own")].some((cell) => plain(cell.textContent).includes(plain(wanted)));
    }
    const words = { pairs: ["pair", "pairs"], "table-of-classes": ["class", "classes"] }[table.id];
    return counted(rows.filter((row) => !row.hidden).length, ...words);
  });
  document.getElementById("found").textContent = wanted ? counts.join(", ") : "";
}

box.addEventListener("input", () => {
  const wanted = plain(box.value.trim()), names = data.confusion.names.map(plain), exact = names.indexOf(wanted);
  const found = exact >= 0 ? [exact] : [...names.keys()].filter((label) => wanted && names[label].includes(wanted));
  filterTables(wanted);
  matrices.confusion.mark(found);
  if (found.length === 1) {
    choose(document.getElementById(`class-${found[0]}`));
  }
});

// Sorting
const sortKey = (cell) => (cell.classList.contains("number") ? Number(cell.dataset.value) : cell.textContent);

function sortTable(heading) {
  const orders = heading.classList.contains("number") ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = orders[heading.getAttribute("aria-sort") === orders[0] ? 1 : 0], sign = order === "ascending" ? 1 : -1;
  [...heading.parentElement.cells].forEach((one) => one.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[heading.cellIndex]), row]);
  const compare = (left, right) => (typeof left === "number" ? left - right : left.localeCompare(right, undefined, { numeric: true }));
  rows.sort((left, right) => sign * compare(left[0], right[0]));
  body.append(...rows.map(([, row]) => row));
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortTable(button.parentElement));
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

const accuracies = [...document.querySelectorAll("#table-of-classes tbody td:nth-child(4)")].map(sortKey);
choose(document.getElementById(`class-${accuracies.indexOf(Math.min(...accuracies))}`));
chooseAsked();
addEventListener("hashchange", chooseAsked);
for (const link of document.querySelectorAll("#table-of-classes a")) {
  link.addEventListener("click", () => choose(document.querySelector(link.hash)));
}

// Print: all rows of all tables, all details
let folded = [];
addEventListener("beforeprint", () => {
  filterTables("");
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => {
  folded.forEach((one) => { one.open = false; });
  filterTables(box.value.trim());
});
