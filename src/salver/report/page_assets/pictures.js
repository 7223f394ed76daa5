// Inputs and saliency maps as pixels, with a sentence and a table that say the same.

// Blue below zero, white at zero, red above: told apart with every kind of colour blindness.
const BELOW = [33, 102, 172], ABOVE = [178, 24, 43];

function signedColour(value, most) {
  const part = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  const end = value < 0 ? BELOW : ABOVE;
  return end.map((channel) => Math.round(255 + (channel - 255) * Math.sqrt(part)));
}

function grey(value, [low, high]) {
  const shade = high > low ? Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low)))) : 0;
  return [shade, shade, shade];
}

function paint(shape, values, colour) {
  const [channels, height, width] = shape;
  const isColour = channels === 3 && colour.length === 3;
  const stacked = isColour ? 1 : channels;
  const canvas = make("canvas", { width, height: height * stacked, role: "img" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height * stacked);
  const size = height * width;
  for (let pixel = 0; pixel < size * stacked; pixel += 1) {
    const rgb = isColour ? [0, 1, 2].map((c) => colour(values[c * size + pixel], c, true)[0]) : colour(values[pixel]);
    image.data.set([...rgb, 255], 4 * pixel);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const short = (number) => String(Number(number.toPrecision(3)));

function place(index, [, height, width]) {
  const channel = Math.floor(index / (height * width)), rest = index % (height * width);
  if (height === 1) return `entry ${index}`;
  const where = `row ${Math.floor(rest / width) + 1}, column ${(rest % width) + 1}`;
  return channel ? `${where}, channel ${channel + 1}` : where;
}

function sentence(name, shape, values) {
  const sizes = values.map(Math.abs);
  const most = Math.max(...sizes);
  const size = shape[1] === 1 ? `${values.length} numbers` : `${shape[1]} by ${shape[2]}`;
  const range = `from ${short(Math.min(...values))} to ${short(Math.max(...values))}`;
  return `${name}, ${size}, ${range}; largest in absolute value at ${place(sizes.indexOf(most), shape)}`;
}

function figure(name, shape, values, colour, note) {
  const canvas = paint(shape, values, colour);
  canvas.setAttribute("aria-label", sentence(name, shape, values));
  if (shape[1] === 1) canvas.style.height = "2.5rem";
  return make("figure", {}, canvas, make("figcaption", {}, note));
}

function pictureFigures(picture) {
  const { xhat, witness } = picture;
  const all = witness ? [...xhat.x, ...witness.x] : xhat.x;
  const range = picture.range || [Math.min(...all), Math.max(...all)];
  const light = (value) => grey(value, range);
  Object.defineProperty(light, "length", { value: 3 });
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const most = Math.max(largest(xhat.map), witness ? largest(witness.map) : 0);
  const signed = (limit) => (value) => signedColour(value, limit);
  const minus = (a, b) => a.map((value, index) => value - b[index]);
  const first = picture.exact ? "xhat" : "middle of the box (xhat is not known)";
  const rows = [[
    figure("Input xhat", picture.shape, xhat.x, light, `${first}: class ${xhat.label}`),
    figure("Saliency map of xhat", picture.mapShape, xhat.map, signed(most), `saliency of xhat, white is 0, ends at ±${short(most)}`),
  ]];
  if (witness) {
    const moved = minus(witness.x, xhat.x), changed = minus(witness.map, xhat.map);
    rows[0].splice(1, 0,
      figure("Input of the witness", picture.shape, witness.x, light, `witness of ${witness.solver}: class ${witness.label}`),
      figure("Difference of the inputs", picture.shape, moved, signed(largest(moved)), `witness - xhat, ends at ±${short(largest(moved))}`));
    rows.push([rows[0].pop(),
      figure("Saliency map of the witness", picture.mapShape, witness.map, signed(most), "saliency of the witness, same colours"),
      figure("Difference of the saliency maps", picture.mapShape, changed, signed(largest(changed)), `difference, ends at ±${short(largest(changed))}`)]);
  }
  return rows.map((row) => make("div", { class: "pictures" }, ...row));
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
    details.append(make("div", { class: "wide tall", role: "region", "aria-label": title, tabindex: "0" }, table));
  });
  return details;
}

function pictureNumbers(picture) {
  const { xhat, witness } = picture;
  const beside = (of) => witness
    ? { xhat: xhat[of], witness: witness[of], difference: witness[of].map((value, index) => value - xhat[of][index]) }
    : { xhat: xhat[of] };
  return [numbersTable("Inputs in numbers", picture.shape, beside("x")),
    numbersTable("Saliency in numbers", picture.mapShape, beside("map"))];
}
