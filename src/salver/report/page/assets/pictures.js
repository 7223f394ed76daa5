// Inputs and saliency maps as pixels or bars, with a sentence and a table that say the same.

function signedColour(data, value, most) {
  const part = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  const end = data.colours[value < 0 ? 0 : 1];
  return end.map((channel) => Math.round(255 + (channel - 255) * part));
}

function grey(value, [low, high]) {
  const shade = high > low ? Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low)))) : 0;
  return [shade, shade, shade];
}

// Three channels of an input are red, green and blue; of other channels a pixel shows the entry of largest size.
function paint([channels, height, width], values, colour, isInput) {
  const canvas = make("canvas", { width, height, role: "img" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const size = height * width, inColour = isInput && channels === 3;
  for (let pixel = 0; pixel < size; pixel += 1) {
    let most = values[pixel];
    for (let at = pixel + size; at < values.length; at += size) if (Math.abs(values[at]) > Math.abs(most)) most = values[at];
    const rgb = inColour ? [0, 1, 2].map((channel) => colour(values[channel * size + pixel], channel)[0]) : colour(most);
    for (let at = 0; at < 4; at += 1) image.data[4 * pixel + at] = at < 3 ? rgb[at] : 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const short = (number) => String(Number(number.toPrecision(3)));
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const minus = (a, b) => a.map((value, index) => value - b[index]);

function place(index, [, height, width], features = []) {
  const channel = Math.floor(index / (height * width)), rest = index % (height * width);
  if (height === 1) return features[index] || `entry ${index}`;
  const where = `row ${Math.floor(rest / width) + 1}, column ${(rest % width) + 1}`;
  return channel ? `${where}, channel ${channel + 1}` : where;
}

function sentence(name, shape, values) {
  const sizes = values.map(Math.abs);
  const range = `from ${short(Math.min(...values))} to ${short(Math.max(...values))}`;
  const most = sizes.indexOf(largest(values));
  return `${name}, ${shape[1]} by ${shape[2]}, ${range}; largest in absolute value at ${place(most, shape)}`;
}

function drawn(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The top-k set as frames over the pixels, of whichever channel the entry is.
function frames([, height, width], top) {
  const pixels = [...new Set(top.map((index) => index % (height * width)))];
  const cells = pixels.map((index) => drawn("rect", {
    x: (index % width) + 0.06, y: Math.floor(index / width) + 0.06, width: 0.88, height: 0.88 }));
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "frames", "aria-hidden": "true" }, ...cells);
}

function colourBar(low, high, colour) {
  const steps = Array.from({ length: 101 }, (_, step) => low + (high - low) * step / 100);
  const bar = paint([1, 1, 101], steps, colour, false);
  bar.setAttribute("aria-hidden", "true");
  bar.removeAttribute("role");
  const marks = low < 0 ? [low, 0, high] : [low, high];
  return make("div", { class: "scale" }, bar, make("span", {}, ...marks.map((mark) => make("span", {}, short(mark)))));
}

function figure(title, note, label, shape, values, { colour, ends, isInput = false, top = [], brief = false }) {
  const canvas = paint(shape, values, colour, isInput);
  canvas.setAttribute("aria-label", sentence(label, shape, values));
  if (shape[0] > 1 && !isInput && note) note += "; of each pixel the channel of largest size";
  const marked = top.length ? [frames(shape, top)] : [];
  return make("figure", {}, make("div", { class: "pixels" }, canvas, ...marked), ...(brief ? [] : [colourBar(...ends, colour)]),
    make("figcaption", {}, make("b", {}, title), ...(note ? [make("br"), note] : [])));
}

function className(picture, label) {
  return picture.classes[label] ? `class ${label} (${picture.classes[label]})` : `class ${label}`;
}

function nameOfXhat(picture) {
  return picture.exact ? "xhat" : "middle of the box (xhat is not known)";
}

// Of a witness in brief only both inputs and both maps.
function imageFigures(data, picture, brief = false) {
  const { xhat, witness, epsilon } = picture;
  const all = witness ? [...xhat.x, ...witness.x] : xhat.x;
  const range = picture.range || [Math.min(...all), Math.max(...all)];
  // Each channel may have a range of its own; the scale then shows the first one's.
  const ranges = Array.isArray(range[0]) ? range : null;
  const light = { colour: (value, channel = 0) => grey(value, ranges ? ranges[channel] : range), ends: ranges ? ranges[0] : range, isInput: true };
  const signed = (limit) => ({ colour: (value) => signedColour(data, value, limit), ends: [-limit, limit] });
  if (brief) {
    const limit = Math.max(largest(xhat.map), largest(witness.map));
    return [make("div", { class: "pictures brief" },
      ...[[xhat, "xhat"], [witness, "the witness"]].map(([at, name]) => figure(className(picture, at.label), "", `Input of ${name}`, picture.shape, at.x, { ...light, brief })),
      ...(limit ? [[xhat, "xhat"], [witness, "the witness"]] : []).map(([at, name]) => figure("its map", "", `Saliency map of ${name}`, picture.mapShape, at.map, { ...signed(limit), top: at.top, brief })))];
  }
  const rows = [[figure(nameOfXhat(picture), className(picture, xhat.label), "Input xhat", picture.shape, xhat.x, light)]];
  if (witness) {
    rows[0].push(
      figure("witness", className(picture, witness.label), "Input of the witness", picture.shape, witness.x, light),
      figure("witness - xhat", "ends of the scale: epsilon", "Difference of the inputs", picture.shape, minus(witness.x, xhat.x), signed(epsilon)));
  }
  if (xhat.map.length) {
    const limit = Math.max(largest(xhat.map), witness ? largest(witness.map) : 0);
    rows.push([figure("saliency at xhat", "white is 0", "Saliency map of xhat", picture.mapShape, xhat.map, { ...signed(limit), top: xhat.top })]);
    if (witness) {
      rows[1].push(
        figure("saliency at the witness", "on the same scale", "Saliency map of the witness", picture.mapShape, witness.map, { ...signed(limit), top: witness.top }),
        figure("difference of the maps", "on the same scale", "Difference of the saliency maps", picture.mapShape, minus(witness.map, xhat.map), signed(limit)));
    }
  }
  return rows.map((row) => make("div", { class: "pictures" }, ...row));
}

// A number, and a bar from the middle to the left or right that shows its size.
function barCell(data, value, most, topped = "") {
  const part = most > 0 ? 30 * Math.min(1, Math.abs(value) / most) : 0;
  const bar = drawn("rect", { x: value < 0 ? 30 - part : 30, y: 1, width: part, height: 8, fill: `rgb(${data.colours[value < 0 ? 0 : 1]})` });
  const axis = drawn("path", { d: "M30 0V10", class: "axis" });
  return make("td", { class: topped ? "number framed" : "number" },
    drawn("svg", { viewBox: "0 0 60 10", width: 60, height: 10, "aria-hidden": "true" }, bar, axis), make("span", { class: "amount" }, short(value)),
    ...(topped ? [make("span", { class: "unseen" }, topped)] : []));
}

// In brief only the maps, of the entries that weigh most.
function entryTable(data, picture, most = Infinity, name = "") {
  const { xhat, witness } = picture;
  const brief = most < Infinity && xhat.map.length === xhat.x.length;
  const of = xhat.x.map((_, index) => index);
  if (brief) of.sort((a, b) => Math.abs(xhat.map[b]) - Math.abs(xhat.map[a])).splice(most);
  const columns = [];
  const add = (of, title) => {
    const most = Math.max(largest(xhat[of]), witness ? largest(witness[of]) : 0);
    const top = (point) => (of === "map" ? point.top : []);
    columns.push([`${title} at xhat`, xhat[of], most, top(xhat)]);
    if (!witness) return;
    columns.push([`${title} at the witness`, witness[of], most, top(witness)]);
    if (!brief) columns.push([`change of ${title}`, minus(witness[of], xhat[of]), of === "x" ? picture.epsilon : most, []]);
  };
  if (!brief) add("x", "input");
  if (xhat.map.length === xhat.x.length) add("map", "saliency");
  const heads = [make("th", { scope: "col" }, make("button", { type: "button" }, "entry")),
    ...columns.map(([title]) => make("th", { scope: "col", "data-number": true }, make("button", { type: "button" }, title)))];
  const rows = of.map((index) => make("tr", {},
    make("th", { scope: "row" }, place(index, picture.shape, picture.features)),
    ...columns.map(([, values, most, top]) => barCell(data, values[index], most, top.includes(index) ? ` in the top ${top.length}` : ""))));
  const title = brief ? `The ${most} entries of most weight at xhat` : `Input and saliency by entry; bars are red above zero and blue below${xhat.top.length ? `; frames mark the top ${xhat.top.length}` : ""}`;
  const table = make("table", { class: "sortable" }, make("caption", {}, title), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return wide(name ? `${title}: ${name}` : title, table, "entries");
}

// The numbers behind the pictures; made when they are first asked for.
function numbersTable(title, shape, columns) {
  const details = make("details", {}, make("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (details.querySelector("table")) return;
    const heads = [make("th", { scope: "col" }, "entry")];
    heads.push(...Object.keys(columns).map((name) => make("th", { scope: "col", "data-number": true }, name)));
    const values = Object.values(columns);
    const rows = values[0].map((_, index) => make("tr", {},
      make("th", { scope: "row" }, place(index, shape)),
      ...values.map((list) => make("td", { class: "number" }, short(list[index])))));
    const table = make("table", {}, make("caption", {}, title), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    details.append(wide(title, table, "numbers"));
  });
  return details;
}

function pictureNumbers(picture) {
  const { xhat, witness } = picture;
  const beside = (of) => witness
    ? { xhat: xhat[of], witness: witness[of], difference: minus(witness[of], xhat[of]) }
    : { xhat: xhat[of] };
  const found = [numbersTable("Inputs in numbers", picture.shape, beside("x"))];
  if (xhat.map.length) found.push(numbersTable("Saliency in numbers", picture.mapShape, beside("map")));
  return found;
}

function rankSentence(picture) {
  const { xhat, witness } = picture;
  if (!xhat.top.length) return "";
  const named = (entries) => entries.map((entry) => place(entry, picture.mapShape, picture.features)).join("; ") || "none";
  const left = xhat.top.filter((entry) => !witness.top.includes(entry));
  const entered = witness.top.filter((entry) => !xhat.top.includes(entry));
  if (!left.length && !entered.length) return ` The top ${xhat.top.length} are the same.`;
  return ` Out of the top ${xhat.top.length}: ${named(left)}. Into it: ${named(entered)}.`;
}

// What the witness changes, and how much of that the query allows.
function changeSentence(picture) {
  const { xhat, witness } = picture;
  const allowed = (most) => (most === null ? "" : ` (allowed ${short(most)})`);
  const moved = `Largest change of an entry: of the input ${short(witness.moved)}${allowed(picture.epsilon)}`;
  const changed = xhat.map.length ? `, of the map ${short(witness.mapMoved)}${allowed(picture.delta)}` : "";
  return `The network gives xhat ${className(picture, xhat.label)} and the witness ${className(picture, witness.label)}. ${moved}${changed}.${rankSentence(picture)}`;
}

function witnessSentences({ picture }) {
  const { xhat, witness } = picture;
  if (!witness) return `No solver has a witness. The network gives xhat ${className(picture, xhat.label)}.`;
  return `The witness is of ${witness.solver}, replayed as ${witness.verdict.replaceAll("_", " ")}. ${changeSentence(picture)}`;
}

function pictureSection(data, instance) {
  const picture = instance.picture;
  if (!picture) return [make("p", {}, "There are no pictures of this instance in the page.")];
  const told = make("p", {}, witnessSentences(instance));
  if (picture.shape[1] === 1) return [told, entryTable(data, picture)];
  return [told, ...imageFigures(data, picture), ...pictureNumbers(picture)];
}
