"use strict";
// The page can be read without any of this. It adds what lies under the pointer or the keyboard.

const data = Object.assign({}, ...["data", "measured"].map((id) => JSON.parse(document.getElementById(id).textContent)));
const tip = document.getElementById("tip");
document.documentElement.classList.add("js");

// An element with classes, text and children.
function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...content);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Shows a title and rows of [what, value, colour] beside a point of the window, and says them to screen readers.
function showTip(x, y, title, rows, ...more) {
  const lines = rows.map(([what, value, colour]) => {
    const name = make("span", "", what);
    if (colour) {
      const dot = make("i", "dot");
      dot.style.background = colour;
      name.prepend(dot);
    }
    return make("div", "", name, make("span", "", value));
  });
  tip.replaceChildren(make("strong", "", title), ...lines, ...more);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 16 + width > innerWidth - 8 ? x - 16 - width : x + 16;
  const top = y + 16 + height > innerHeight - 8 ? y - 16 - height : y + 16;
  tip.style.left = `${clamp(left, 8, Math.max(innerWidth - width - 8, 8))}px`;
  tip.style.top = `${clamp(top, 8, Math.max(innerHeight - height - 8, 8))}px`;
}

const hideTip = () => { tip.hidden = true; };

// Calls ``move`` where a pointer goes or taps, ``leave`` when it is elsewhere; a finger leaves what it has tapped.
function followPointer(area, move, leave) {
  area.addEventListener("pointermove", move);
  area.addEventListener("click", move);
  area.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave());
  addEventListener("pointerdown", (event) => area.contains(event.target) || leave());
}

// Calls ``then`` when what is scrolled by now has told so.
const afterScrolling = (then) => requestAnimationFrame(() => requestAnimationFrame(then));

// The boxes of what ``selector`` finds in the drawing of a chart that is shown.
function boxes(figure, selector) {
  const drawing = [...figure.querySelectorAll(".drawing")].find((one) => one.offsetParent !== null);
  return [...drawing.querySelectorAll(selector)].map((one) => one.getBoundingClientRect());
}

// Of a chart of lines: the place nearest to a pointer, and what it says at one, under a rule.
function lines(figure, { at, titles, series }) {
  const frames = () => boxes(figure, "[class*=concat_] > g > .background");
  const rule = figure.querySelector(".rule");
  const find = ({ clientX }) => {
    const { left, width } = frames()[0], wanted = (clientX - left) / width;
    return at.reduce((best, one, place) => (Math.abs(one - wanted) < Math.abs(at[best] - wanted) ? place : best), 0);
  };
  const show = (place) => {
    const all = frames(), { left, top, width } = all[0], box = figure.getBoundingClientRect();
    const x = left + at[place] * width;
    Object.assign(rule.style, { left: `${x - box.left}px`, top: `${top - box.top}px`, height: `${all.at(-1).bottom - top}px` });
    rule.hidden = false;
    const rows = series.filter((one) => one.values[place] !== null).map(({ name, colour, unit, values, band }) => {
      const between = band?.[place] ? ` (${band[place][0]} to ${band[place][1]})` : "";
      return [name, `${values[place]}${unit && ` ${unit}`}${between}`, colour];
    });
    showTip(x, top, titles[place], rows);
  };
  return { places: at.length, find, show };
}

// Of a chart of bars: the one under a pointer, and what it says of one.
function bars(figure, { items }) {
  const all = () => boxes(figure, ".mark-rect path");
  const find = ({ clientX: x, clientY: y }) => (
    all().findIndex((box) => x >= box.left - 2 && x <= box.right + 2 && y >= box.top && y <= box.bottom)
  );
  const show = (place) => {
    const { left, width, bottom } = all()[place];
    showTip(left + Math.min(width, 40), bottom, items[place][0], [[items[place][1], ""]]);
  };
  return { places: items.length, find, show };
}

for (const figure of document.querySelectorAll(".chart")) {
  const chart = data[figure.dataset.figure];
  const { places, find, show } = chart.items ? bars(figure, chart) : lines(figure, chart);
  let current = places - 1;
  const leave = () => {
    hideTip();
    figure.querySelector(".rule").hidden = true;
  };
  const go = (place) => show(current = place);
  followPointer(figure, (event) => {
    const place = find(event);
    (place >= 0 ? go : leave)(place);
  }, leave);
  figure.addEventListener("keydown", (event) => {
    const next = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: places - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      go(clamp(next, 0, places - 1));
    } else if (event.key === "Escape") {
      leave();
    }
  });
  figure.addEventListener("focus", () => figure.matches(":focus-visible") && afterScrolling(() => go(current)));
  figure.addEventListener("blur", leave);
}

addEventListener("scroll", hideTip, { passive: true });
