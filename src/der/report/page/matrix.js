// Matrices: a cursor that pointer and arrow keys move, zoom, and for the confusion a slider over steps.

const SMALLEST_WINDOW = 5; // cells across, at the largest zoom
const MOST_NAMED = 25; // cells across that are named one by one, where there is room
const SEARCHED = 14; // cells around a class that was searched for
const MOST_THUMBS = 6;

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
    this.listen();
  }

  listen() {
    const { cells, figure } = this;
    followPointer(cells, (event) => this.move(event), () => this.leave());
    cells.addEventListener("pointerdown", (event) => { this.drag = this.zoom > 1 ? [event.clientX, event.clientY, ...this.corner] : null; });
    cells.addEventListener("dblclick", (event) => this.zoomBy(2, this.cellAt(event)));
    addEventListener("pointerup", () => { this.drag = null; });
    figure.addEventListener("blur", () => this.leave());
    figure.addEventListener("focus", () => figure.matches(":focus-visible") && this.goByKey(...this.place));
    figure.addEventListener("keydown", (event) => this.press(event));
  }

  cellAt(event) {
    const box = this.cells.getBoundingClientRect();
    const window = this.count / this.zoom;
    const row = this.corner[0] + (event.clientY - box.top) / box.height * window;
    const column = this.corner[1] + (event.clientX - box.left) / box.width * window;
    return [row, column].map((one) => clamp(Math.floor(one), 0, this.count - 1));
  }

  move(event) {
    if (this.drag && event.buttons) {
      const [x, y, row, column] = this.drag;
      const cell = this.cells.clientWidth * this.zoom / this.count;
      this.show(row - (event.clientY - y) / cell, column - (event.clientX - x) / cell);
      this.leave();
    } else {
      this.go(...this.cellAt(event), event.clientX, event.clientY);
    }
  }

  press(event) {
    const [row, column] = this.place;
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (steps) {
      event.preventDefault();
      const to = [row + steps[0], column + steps[1]].map((one) => clamp(one, 0, this.count - 1));
      this.reveal(...to);
      this.goByKey(...to);
    } else if (event.key === "+" || event.key === "-") {
      this.zoomBy(event.key === "+" ? 2 : 0.5, this.place);
      this.goByKey(row, column);
    } else if (event.key === "Escape") {
      this.leave();
    }
  }

  go(row, column, x, y) {
    this.place = [row, column];
    this.cursor.style.setProperty("--row", row);
    this.cursor.style.setProperty("--column", column);
    this.cursor.hidden = false;
    const said = this.describe(row, column);
    if (!said) {
      hideTip();
      return;
    }
    const box = this.cursor.getBoundingClientRect();
    showTip(x ?? box.right, y ?? box.bottom, said.title, said.rows, ...(said.more ?? []));
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
    const most = Math.max(this.count / SMALLEST_WINDOW, 1);
    this.zoom = factor === 0 ? 1 : clamp(this.zoom * factor, 1, most);
    const half = this.count / this.zoom / 2;
    this.show(row + 0.5 - half, column + 0.5 - half);
  }

  // Shows so many cells around one.
  zoomTo(window, place) {
    this.zoom = 1;
    this.zoomBy(Math.max(this.count / window, 1), place);
  }

  reveal(row, column) {
    const window = this.count / this.zoom;
    const [top, left] = this.corner;
    this.show(clamp(top, row + 1 - window, row), clamp(left, column + 1 - window, column));
  }

  show(row, column) {
    const last = this.count - this.count / this.zoom;
    this.corner = [clamp(row, 0, last), clamp(column, 0, last)];
    const style = this.figure.style;
    style.setProperty("--zoom", this.zoom);
    style.setProperty("--y", this.corner[0] / this.count);
    style.setProperty("--x", this.corner[1] / this.count);
    this.figure.classList.toggle("zoomed", this.zoom > 1);
    // Names, which take room of the cells, are shown where a cell is then as high as they.
    const near = this.zoom > 1 && this.count / this.zoom <= MOST_NAMED;
    this.figure.classList.toggle("close", near);
    if (near && this.cells.clientHeight * this.zoom / this.count < parseFloat(getComputedStyle(this.figure).fontSize)) {
      this.figure.classList.remove("close");
    }
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
    if (labels.length > 0) {
      this.zoomTo(SEARCHED, [labels[0], labels[0]]);
    } else {
      this.zoomBy(0);
    }
  }
}

// Forgetting

function describeForgetting({ names, accuracy, images }) {
  return (after, of) => {
    if (of > after) {
      return null;
    }
    const now = accuracy[after][of], lost = accuracy[of][of] - now;
    return {
      title: names[of],
      rows: [
        [`after step ${after + 1}`, withError(now, images[of])],
        ["when they were new", withError(accuracy[of][of], images[of])],
        [Number(lost.toFixed(1)) < 0 ? "gained" : "lost", `${Math.abs(lost).toFixed(1)} points`],
      ],
    };
  };
}

// Confusion

function readCounts(sparse, seen) {
  const counts = new Map();
  let place = 0;
  for (let index = 0; index < sparse.length; index += 2) {
    place += sparse[index];
    counts.set(`${Math.floor(place / seen)},${place % seen}`, sparse[index + 1]);
  }
  return counts;
}

function thumbs(confusion, shots, row, column) {
  const file = document.getElementById(`mistakes-${row}`);
  const [side, pitch, width, height] = confusion.sheets[row];
  const numbers = shots[row] ?? [], found = []; // of each picture its place, the class it was taken for, percent
  for (let index = 0; index < numbers.length && found.length < MOST_THUMBS; index += 3) {
    if (numbers[index + 1] === column) {
      found.push([numbers[index], numbers[index + 2]]);
    }
  }
  return found.map(([place, percent]) => {
    const thumb = make("span", "thumb");
    const across = place % confusion.columns * pitch, down = Math.floor(place / confusion.columns) * pitch;
    Object.assign(thumb.style, {
      width: `${side}px`, height: `${side}px`,
      backgroundImage: `url(${file.src})`, backgroundSize: `${width}px ${height}px`,
      backgroundPosition: `-${across}px -${down}px`,
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
    const { names, images } = confusion;
    const count = counts.get(`${row},${column}`) ?? 0;
    const percent = withError(100 * count / images[row], images[row], share(count, images[row], 1));
    const of = `${count} of ${counted(images[row], "image", "images")}`;
    if (row === column) {
      return { title: names[row], rows: [["recognised", of], ["", percent]] };
    }
    const pictures = count ? thumbs(confusion, shots, row, column) : [];
    return {
      title: `${names[row]} taken for ${names[column]}`,
      rows: [[of, percent]],
      more: pictures.length ? [make("div", "thumbs", ...pictures)] : [],
    };
  };
}

const GRADES = 16; // of shades, as der.summary.charts.colours has them

function writeNumbers(figure, { images, texts }, { counts }) {
  const numbers = [...counts].map(([place, count]) => {
    const [row, column] = place.split(",").map(Number);
    const percent = 100 * count / images[row];
    const grade = Math.min(Math.floor(GRADES * Math.sqrt(percent / 100)), GRADES - 1) + (row === column ? GRADES : 0);
    const number = make("b", "", 200 * count < images[row] ? "<1" : share(count, images[row]));
    for (const [name, value] of Object.entries({ row, column, light: texts[grade][0], dark: texts[grade][1] })) {
      number.style.setProperty(`--${name}`, value);
    }
    return number;
  });
  figure.querySelector(".numbers").replaceChildren(...numbers);
}

function setUpConfusion(figure, confusion) {
  const steps = confusion.steps.map(({ step, counts, ...rest }) => {
    const seen = confusion.sizes[step - 1];
    return { step, seen, counts: readCounts(counts, seen), ...rest };
  });
  let current = steps[steps.length - 1];
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
const forgettingFigure = document.getElementById("figure-accuracy_matrix");
if (forgettingFigure) {
  matrices.accuracy_matrix = new Matrix(forgettingFigure, describeForgetting(data.accuracy_matrix));
}
for (const buttons of document.querySelectorAll("[data-zoom]")) {
  buttons.addEventListener("click", (event) => {
    if (event.target.dataset.by) {
      matrices[buttons.dataset.zoom].zoomBy(Number(event.target.dataset.by));
    }
  });
}
