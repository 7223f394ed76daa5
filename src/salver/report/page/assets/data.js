"use strict";
// Everything shown is made of text nodes and attributes set here: no string ever becomes markup.

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  // Thousands are made, and pairs of key and value would be as many more.
  for (const key in attributes) {
    const value = attributes[key];
    if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// Alphabetical, numbers by their value. A collator takes long to make, so there is one, made when something is first sorted.
let collator = null;
function alphabetical(a, b) {
  collator = collator || new Intl.Collator("en", { numeric: true });
  return collator.compare(a, b);
}

// A region that scrolls sideways is a stop for the keyboard; where it does not, the headings of its table stay in sight.
// Sizes come from the browser after its own layout: asking for them would lay out what is folded or out of sight.
const sizes = new ResizeObserver((entries) => requestAnimationFrame(() => {
  const regions = [...new Set(entries.map(({ target }) => target.closest(".wide")))].filter(Boolean);
  const scrolling = regions.map((region) => region.scrollWidth > region.clientWidth);
  regions.forEach((region, at) => {
    region.classList.toggle("fits", !scrolling[at]);
    if (scrolling[at]) region.setAttribute("tabindex", "0");
    else region.removeAttribute("tabindex");
  });
}));

function watched(region) {
  sizes.observe(region);
  sizes.observe(region.firstElementChild);
  return region;
}

function wide(label, table, kind = "") {
  return watched(make("div", { class: `wide ${kind}`, role: "region", "aria-label": label, tabindex: "0" }, table));
}

async function readElement(id) {
  const element = document.getElementById(id);
  const text = element.textContent;
  element.textContent = "";
  if (!("packed" in element.dataset)) return JSON.parse(text);
  if (typeof DecompressionStream === "undefined") throw new Error("this browser has no DecompressionStream");
  // Browsers of before 2025 have no `fromBase64`.
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// What the results need. `whole` adds what the gallery and the views of instances show, `logged` what only the latter do.
async function readData() {
  const data = withColumns(await readElement("data"));
  data.logs = data.logs.split("\n");
  let whole = null, logged = null;
  data.whole = () => {
    whole = whole || drawnFirst().then(() => readElement("details")).then((details) => addDetails(data, details));
    return whole;
  };
  data.logged = async () => {
    await data.whole();
    logged = logged || readElement("texts").then(({ head, texts }) => Object.assign(data, { head, textOf: new Map(texts.map(([row, ...text]) => [row, text])) }));
    return logged;
  };
  return data;
}

// One cell stands for a column in which all are alike.
function withColumns(data) {
  const cells = (Kind, given) => (given.length === data.rows ? new Kind(given) : new Kind(data.rows).fill(given[0]));
  for (const column of data.columns) {
    if (column.codes) column.codes = cells(Int32Array, column.codes);
    else column.numbers = cells(Float64Array, column.numbers);
  }
  data.byName = Object.fromEntries(data.columns.map((column) => [column.name, column]));
  return data;
}

// After the browser has drawn what is there.
const drawnFirst = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

function addDetails(data, details) {
  Object.assign(data, details);
  // By name and by id; an id is never taken for a name.
  data.numberOf = new Map(data.instances.map((instance, number) => [instance.name, number]));
  data.ids.forEach((id, number) => data.numberOf.set(id, number));
  for (const { picture } of data.instances) {
    for (const point of picture ? [picture.xhat, picture.witness] : []) {
      if (point) Object.assign(point, { x: data.vectors[point.x], map: data.vectors[point.map] });
    }
  }
}

function cellText(column, row) {
  if (column.codes) return column.values[column.codes[row]];
  const number = column.numbers[row];
  if (number < 0) return "";
  return column.digits > 3 ? String(number) : number.toFixed(Math.min(column.digits, 2));
}

// Texts of a column to choose from, solvers as the leaderboard has them.
function choices(data, column) {
  if (column.numbers) return column.telling < 2 ? [] : [...new Set(column.numbers)].filter((value) => value >= 0).sort((a, b) => a - b).map(String);
  if (column.name === "solver") return [...column.values].sort((a, b) => data.order.indexOf(a) - data.order.indexOf(b));
  return column.values;
}

// A word is looked for in the texts of a column, which are few, and not in its rows, which are many.
function wordTest(columns, word) {
  const hits = [];
  for (const column of columns) {
    if (!column.codes) continue;
    const hit = Uint8Array.from(column.values, (value) => value.toLowerCase().includes(word) ? 1 : 0);
    if (hit.includes(1)) hits.push([column.codes, hit]);
  }
  return (row) => hits.some(([codes, hit]) => hit[codes[row]] === 1);
}

function selectedRows(data, { words, chosen, sort, descending }) {
  const tests = words.map((word) => wordTest(data.columns, word));
  for (const [name, value] of Object.entries(chosen)) {
    const column = data.byName[name];
    const [cells, wanted] = column.codes ? [column.codes, column.values.indexOf(value)] : [column.numbers, Number(value)];
    tests.push((row) => cells[row] === wanted);
  }
  const rows = new Int32Array(data.rows);
  let count = 0;
  for (let row = 0; row < data.rows; row += 1) {
    if (tests.every((test) => test(row))) rows[count++] = row;
  }
  const found = rows.subarray(0, count);
  if (sort) {
    // The texts of a column are given in the order of the alphabet.
    const column = data.byName[sort], keys = column.codes || column.numbers;
    const sign = descending ? -1 : 1;
    found.sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
  }
  return found;
}
