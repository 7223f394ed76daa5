// Draws the plots of the rows that the filters leave, as the report draws those of the whole run.

const PANEL = 140, MOST_LETTERS = 25;
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A0784A"], BEST_COLOUR = "#8A8A8A";
const DASHES = ["1 0", "6 2", "2 2", "8 3 2 3", "4 4", "1 3", "10 2", "5 1 1 1"];
const VERIFIED = "#009E73", SAFE = "#D55E00", OPEN = "#BDBDBD", GRID = "#8884";

const shortened = (name, most) => (name.length <= most ? name : `${name.slice(0, (most - 1) >> 1)}\u2026${name.slice(-((most - 1) >> 1))}`);

function logTicks(low, high, most = 5) {
  let inside = [];
  for (const digits of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    inside = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      inside.push(...digits.map((digit) => Number((digit * 10 ** power).toPrecision(6))).filter((tick) => tick >= low && tick <= high));
    }
    if (inside.length <= most) return inside;
  }
  const step = Math.ceil(inside.length / most);
  return inside.filter((_, at) => at % step === 0);
}

function evenTicks(low, high, most) {
  const room = (high - low) / most, power = 10 ** Math.floor(Math.log10(room));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= room * (1 - 1e-9));
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-9); at += 1) ticks.push(Number((at * step).toPrecision(6)));
  return ticks;
}

// An axis: where a value stands between 0 and 1, and its ticks.
function logAxis(values, title, integers = false) {
  const [least, most] = [Math.min, Math.max].map((end) => values.reduce((a, b) => end(a, b)));
  let room = Math.max(1.15, (most / least) ** 0.05);
  if (most < 2 * least && !integers) room = Math.max(room, (2 * least / most) ** 0.5);
  const low = least / room, high = most * room;
  return { title, ticks: logTicks(low, high), low, high, at: (value) => Math.log(value / low) / Math.log(high / low) };
}

function evenAxis(low, high, title, ticks, text = String) {
  return { title, ticks, text, low, high, at: (value) => (value - low) / (high - low || 1) };
}

const tenth = (value) => Math.round(10 * value) / 10;

function chartText(x, y, text, more = {}) {
  return drawn("text", { x: tenth(x), y: tenth(y), "font-family": "sans-serif", "font-size": 10, fill: "currentColor", ...more }, text);
}

// A frame with grid and axes at (0, 0). `place` turns values into pixels.
class Frame {
  constructor(x, y, width, height, isLeftmost = true) {
    Object.assign(this, { x, y, width, height });
    const line = (d, stroke) => drawn("path", { d, stroke });
    const down = (value) => tenth(width * x.at(value)), up = (value) => tenth(height * (1 - y.at(value)));
    const text = (axis, tick) => (axis.text || String)(tick);
    this.place = (point) => [down(point[0]), up(point[1])];
    this.parts = [
      line(`M0 0H${width}V${height}H0z`, GRID), line(x.ticks.map((tick) => `M${down(tick)} 0V${height}`).join(""), GRID),
      line(y.ticks.map((tick) => `M0 ${up(tick)}H${width}`).join(""), GRID),
      line(`M0 ${height}H${width}${x.ticks.map((tick) => `M${down(tick)} ${height}v5`).join("")}`, "currentColor"),
      ...x.ticks.map((tick) => chartText(down(tick), height + 15, text(x, tick), { "text-anchor": "middle" })),
      chartText(width / 2, height + 29, x.title, { "text-anchor": "middle", "font-size": 11 }),
    ];
    if (!isLeftmost) return;
    this.parts.push(line(`M0 0V${height}${y.ticks.map((tick) => `M0 ${up(tick)}h-5`).join("")}`, "currentColor"),
      ...y.ticks.map((tick) => chartText(-7, up(tick) + 3.5, text(y, tick), { "text-anchor": "end" })),
      chartText(0, 0, y.title, { "text-anchor": "middle", "font-size": 11, transform: `translate(-34,${height / 2}) rotate(-90)` }));
  }

  path(d, more) { this.parts.push(drawn("path", { d, ...more })); }

  // Circles in one path; of a dense cloud those that can be told apart.
  cloud(points, colour, isFull) {
    const seen = new Set();
    const placed = points.map(this.place).filter(([x, y]) => {
      const cell = points.length > 400 ? `${Math.round(x / 3.5)} ${Math.round(y / 3.5)}` : `${x} ${y}`;
      return !seen.has(cell) && seen.add(cell);
    });
    const circles = placed.map(([x, y]) => `M${tenth(x + 2.2)} ${y}a2.2 2.2 0 1 1 0-.1z`).join("");
    this.path(circles, isFull ? { fill: colour } : { stroke: colour });
  }

  group(x, y) { return drawn("g", { transform: `translate(${x},${y})` }, ...this.parts); }
}

function chartPicture(title, width, height, parts) {
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title, fill: "none" }, ...parts);
}

// The same colour for a solver in every plot, filtered or not.
function styleOf(data, name, values, best) {
  return name === VIRTUAL_BEST ? best : values[[...data.byName.solver.values].sort(ascending).indexOf(name) % values.length];
}

const colourOf = (data, name) => styleOf(data, name, COLOURS, BEST_COLOUR);

function drawCactus(data, { series, title }) {
  const width = 250, height = 220, ends = series.map(({ points }) => points[points.length - 1]);
  const most = Math.max(...ends.map(([x]) => x));
  const ticks = evenTicks(0, most, 6).filter(Number.isInteger);
  const frame = new Frame(evenAxis(0, most, "runs solved", ticks), logAxis(series.flatMap(({ points }) => points.map(([, y]) => y)), "wall time per run (s)"), width, height);
  const heights = apart(ends.map((end) => frame.place(end)[1]), height);
  [...series.keys()].reverse().forEach((at) => {
    const { name, points } = series[at], colour = colourOf(data, name);
    const steps = points.map(frame.place).map(([x, y], place) => (place ? `H${x}V${y}` : `M${x} ${y}`)).join("");
    frame.path(steps, { stroke: colour, "stroke-width": 2, "stroke-dasharray": styleOf(data, name, DASHES, DASHES[data.byName.solver.values.length % DASHES.length]) });
    frame.cloud([ends[at]], colour, true);
    frame.parts.push(chartText(width + 7, heights[at] + 3, shortened(name, 17), { fill: colour }));
  });
  const longest = Math.max(...series.map(({ name }) => Math.min(17, name.length)));
  return chartPicture(title, 44 + width + 14 + 6 * longest, height + 44, [frame.group(44, 10)]);
}

// Where names stand beside the ends of their curves, a line apart at least.
function apart(heights, height, gap = 12) {
  const order = [...heights.keys()].sort((a, b) => heights[a] - heights[b]), placed = [...heights];
  for (let round = 0; round < 2 * order.length; round += 1) {
    for (let at = 1; at < order.length; at += 1) {
      const short = (gap - (placed[order[at]] - placed[order[at - 1]])) / 2;
      if (short <= 0) continue;
      placed[order[at - 1]] -= short;
      placed[order[at]] += short;
    }
    const low = Math.min(...placed), high = Math.max(...placed), moved = Math.max(0, -low) - Math.max(0, high - height);
    placed.forEach((_, at) => { placed[at] += moved; });
  }
  return placed;
}

// Panels side by side, two at most; `fill` draws into the frame of each.
function drawPanels(title, panels, axes, fill, none = () => false) {
  const lone = panels.length === 1, width = lone ? 2 * PANEL : PANEL, height = lone ? 1.5 * PANEL : PANEL;
  const headings = panels.map((panel) => {
    const lines = panel.name.length > MOST_LETTERS && panel.name.includes(", ") ? panel.name.split(", ") : [panel.name];
    return [...lines.map((line) => shortened(line, MOST_LETTERS)), ...(none(panel) ? ["solved none"] : [])];
  });
  const head = 8 + 12 * Math.max(...headings.map((lines) => lines.length)), step = [width + 14, head + height + 44];
  const parts = panels.map((panel, at) => {
    const frame = new Frame(axes.x, axes.y, width, height, at % 2 === 0), [left, top] = [48 + step[0] * (at % 2), head + step[1] * (at >> 1)];
    fill(frame, panel);
    headings[at].forEach((line, place) => frame.parts.push(chartText(width / 2, 12 * (place - headings[at].length) + 6, line, { "text-anchor": "middle" })));
    return frame.group(left, top);
  });
  return chartPicture(title, 48 + (lone ? width : step[0] + width) + 6, step[1] * Math.ceil(panels.length / 2), parts);
}

const numbersOf = (panels, at) => panels.flatMap(({ points }) => points.map((point) => point[at]));

function drawScatter(data, { panels, title, reference }) {
  const axis = logAxis([...numbersOf(panels, 0), ...numbersOf(panels, 1)]);
  const axes = { x: { ...axis, title: `${shortened(reference, 17)} (s)` }, y: { ...axis, title: "other solver (s)" } };
  return drawPanels(title, panels, axes, (frame, { name, points }) => {
    frame.path(`M0 ${frame.height}L${frame.width} 0`, { stroke: "#888", "stroke-dasharray": "3 3" });
    frame.cloud(points, colourOf(data, name), false);
  });
}

function drawSizes(data, { panels, title }) {
  const axes = { x: logAxis(numbersOf(panels, 0), "ReLU neurons", true), y: logAxis(numbersOf(panels, 1), "wall time (s)") };
  const none = ({ points }) => !points.some((point) => point[2]);
  return drawPanels(title, panels, axes, (frame, { name, points }) => {
    for (const full of [true, false]) frame.cloud(points.filter((point) => point[2] === full), colourOf(data, name), full);
  }, none);
}

function drawCurves(data, { panels, title }) {
  const all = panels.flatMap(({ points }) => points.map(({ epsilon }) => epsilon)), ends = [Math.min(...all), Math.max(...all)];
  const room = 0.05 * (ends[1] - ends[0]), low = ends[0] - room, high = ends[1] + room;
  const percent = (value) => `${Math.round(100 * value)}%`;
  const axes = { x: evenAxis(low, high, "epsilon", evenTicks(low, high, 4)), y: evenAxis(0, 1, "share of the instances", [0, 0.2, 0.4, 0.6, 0.8, 1], percent) };
  return drawPanels(title, panels, axes, (frame, { points }) => {
    const at = points.map(({ epsilon }) => epsilon);
    const curves = [points.map(({ verified, of }) => [verified, of]), points.map(({ falsified, of }) => [of - falsified, of])];
    const placed = curves.map((curve) => curve.map(([hits, of], place) => frame.place([at[place], hits / of])));
    const line = (found) => found.map(([x, y]) => `${x} ${y}`).join("L");
    frame.path(`M${line(placed[0])}L${line([...placed[1]].reverse())}z`, { fill: OPEN });
    [[VERIFIED, "1 0"], [SAFE, "6 2"]].forEach(([colour, dash], side) => {
      const bars = curves[side].map(([hits, of], place) => wilson(hits, of).map((end) => frame.place([at[place], end])));
      frame.path(bars.map(([a, b]) => `M${a[0]} ${a[1]}V${b[1]}`).join(""), { stroke: colour });
      frame.path(`M${line(placed[side])}`, { stroke: colour, "stroke-width": 2, "stroke-dasharray": dash });
      frame.cloud(curves[side].map(([hits, of], place) => [at[place], hits / of]), colour, true);
    });
  });
}

const DRAWINGS = { cactus: drawCactus, scatter: drawScatter, "time-neurons": drawSizes, robustness: drawCurves };

// A figure of the page: the report's own drawing while nothing is filtered.
class Figure {
  constructor(data, figure) {
    this.data = data;
    this.name = figure.dataset.plot;
    this.places = [".drawn", ".title", "tbody", "thead tr"].map((selector) => figure.querySelector(selector));
    this.whole = this.places.map((place) => [...place.childNodes]);
    this.details = figure.querySelector("details");
  }

  show(rows) {
    const found = rows && PLOTTED[this.name](this.data, rows), [place] = this.places;
    const picture = found && DRAWINGS[this.name](this.data, found);
    const parts = !rows ? this.whole : found ? [[picture], [found.title], this.rows(found), this.heads(found)]
      : [[], ["Nothing that the filters leave can be drawn here"], [], this.whole[3]];
    this.places.forEach((one, at) => one.replaceChildren(...parts[at]));
    place.style.aspectRatio = picture ? picture.getAttribute("viewBox").split(" ").slice(2).join(" / ") : rows ? "auto" : "";
    this.details.hidden = Boolean(rows) && !found;
  }

  rows(found) {
    const cell = (text, at) => (at ? make("td", { class: "number" }, text) : make("th", { scope: "row" }, text));
    return found.rows.map((cells) => make("tr", {}, ...cells.map(cell)));
  }

  heads(found) {
    return found.headers.map((name, at) => make("th", { scope: "col", "data-number": at > 0 }, make("button", { type: "button" }, name)));
  }
}
