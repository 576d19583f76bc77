"use strict";
// The page can be read without any of this. It adds what lies under the pointer or the keyboard, sliders, zoom,
// sorting and search.

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

function counted(count, singular, plural) {
  return `${count} ${count === 1 ? singular : plural}`;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// Half of Wilson's 95 % interval, in points, as der.summary.uncertainty has it.
function samplingError(percent, images) {
  const share = percent / 100, z2 = 1.959963984540054 ** 2;
  return 100 * 1.959963984540054 / (1 + z2 / images)
    * Math.sqrt(share * (1 - share) / images + z2 / (4 * images ** 2));
}

function withError(percent, images, text = percent.toFixed(1)) {
  return `${text} % ±${samplingError(percent, images).toFixed(1)}`;
}

// Percent of a count, as der.summary.rounding has it: halves are rounded up.
function share(count, of, decimals = 0) {
  const scale = 10 ** decimals;
  return (Math.floor((200 * scale * count + of) / (2 * of)) / scale).toFixed(decimals);
}

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

function hideTip() {
  tip.hidden = true;
}

// Calls ``move`` where a pointer goes or taps, ``leave`` when it is elsewhere; a finger leaves what it has tapped.
function followPointer(area, move, leave) {
  area.addEventListener("pointermove", move);
  area.addEventListener("click", move);
  area.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave());
  addEventListener("pointerdown", (event) => area.contains(event.target) || leave());
}

// Calls ``then`` when what is scrolled by now has told so.
function afterScrolling(then) {
  requestAnimationFrame(() => requestAnimationFrame(then));
}

addEventListener("scroll", hideTip, { passive: true });
