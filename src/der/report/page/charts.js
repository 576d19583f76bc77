// Charts of lines and of bars: places that one goes through by pointer or by arrow keys.

function shownDrawing(figure) {
  const drawing = [...figure.querySelectorAll(".drawing")].find((one) => one.offsetParent !== null);
  const size = drawing.classList.contains("wide") ? "wide" : "narrow";
  const box = drawing.getBoundingClientRect();
  return { drawing, size, box };
}

// ``find`` gives the place nearest to a point of the drawing, ``show`` shows one and says where it is.
function goThrough(figure, places, { find, show, leave }) {
  let current = places - 1;
  const at = (place) => {
    current = place;
    show(place);
  };
  followPointer(figure, (event) => {
    const { size, box } = shownDrawing(figure);
    const scale = data[figure.dataset.figure][size].size[0] / box.width;
    const place = find(size, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
    if (place >= 0) {
      at(place);
    } else {
      leave();
    }
  }, leave);
  figure.addEventListener("keydown", (event) => {
    const next = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: places - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      at(clamp(next, 0, places - 1));
    } else if (event.key === "Escape") {
      leave();
    }
  });
  figure.addEventListener("focus", () => {
    if (figure.matches(":focus-visible")) {
      afterScrolling(() => figure.matches(":focus") && at(current));
    }
  });
  figure.addEventListener("blur", leave);
}

function nearest(values, wanted) {
  let best = 0;
  values.forEach((value, index) => {
    best = Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? index : best;
  });
  return best;
}

function setUpLines(figure, chart) {
  const leave = () => {
    hideTip();
    figure.querySelectorAll(".rule").forEach((rule) => { rule.hidden = true; });
  };
  const show = (place) => {
    const { drawing, size, box } = shownDrawing(figure);
    const { size: [width], at, frames } = chart[size];
    const scale = box.width / width;
    const [, top] = frames[0], [, low, , height] = frames[frames.length - 1];
    const rule = drawing.querySelector(".rule");
    Object.assign(rule.style, {
      left: `${at[place] * scale}px`, top: `${top * scale}px`, height: `${(low + height - top) * scale}px`,
    });
    rule.hidden = false;
    const rows = chart.series.filter((one) => one.values[place] !== null).map((one) => {
      const band = one.band?.[place];
      const between = band ? ` (${band[0]} to ${band[1]})` : "";
      return [one.name, `${one.values[place]}${one.unit && ` ${one.unit}`}${between}`, one.colour];
    });
    showTip(box.left + at[place] * scale, box.top + top * scale, chart.titles[place], rows);
  };
  const find = (size, x) => nearest(chart[size].at, x);
  goThrough(figure, chart.titles.length, { find, show, leave });
}

function setUpBars(figure, chart) {
  const find = (size, x, y) => chart[size].boxes.findIndex(([left, top, width, height]) => (
    x >= left - 2 && x <= left + width + 2 && y >= top && y <= top + height
  ));
  const show = (place) => {
    const { size, box } = shownDrawing(figure);
    const scale = box.width / chart[size].size[0];
    const [left, top, width, height] = chart[size].boxes[place].map((length) => length * scale);
    showTip(box.left + left + Math.min(width, 40), box.top + top + height, chart.items[place][0], [[chart.items[place][1], ""]]);
  };
  goThrough(figure, chart.items.length, { find, show, leave: hideTip });
}

for (const figure of document.querySelectorAll(".chart")) {
  const chart = data[figure.dataset.figure];
  ({ lines: setUpLines, bars: setUpBars })[chart.kind](figure, chart);
}
