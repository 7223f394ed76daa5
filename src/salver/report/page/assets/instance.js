// One instance: what it asks, its pictures, and every run on it with command line and logs.

const RUN_COLUMNS = ["solver", "outcome", "wall_s", "cpu_s", "memory_mb", "limit_s", "claim", "witness", "gradient", "proof", "termination", "detail"];

function quoted(part) {
  return /^[\w@%+=:,./-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`;
}

function commandLine(argv, environment) {
  return [...environment.map(([key, value]) => `${key}=${quoted(value)}`), ...argv.map(quoted)].join(" ");
}

// Where the browser lets no script write the clipboard, the text is shown to be copied by hand.
function copyButton(label, text) {
  const button = make("button", { type: "button", class: "plain" }, label);
  const said = make("span", { role: "status" });
  button.addEventListener("click", async () => {
    const copied = text();
    try {
      await navigator.clipboard.writeText(copied);
      said.textContent = "copied";
    } catch {
      said.textContent = copied;
    }
  });
  return make("span", { class: "copy" }, button, said);
}

function runName(data, row) {
  const solver = cellText(data.byName.solver, row);
  const repetition = cellText(data.byName.repetition, row);
  return repetition === "0" ? solver : `${solver}, repetition ${repetition}`;
}

function runDetails(data, row) {
  const name = runName(data, row), outcome = cellText(data.byName.outcome, row);
  const summary = make("summary", {}, `${name}: ${outcome}, ${cellText(data.byName.wall_s, row)} s`);
  const details = make("details", { open: outcome === "wrong" || outcome === "error" }, summary);
  const text = data.textOf.get(row);
  if (!text) {
    details.append(make("p", {}, "Command line and logs of this run are not in the page. "));
  } else {
    const [argv, environment, ...streams] = text;
    const block = (label, content) => [make("h4", {}, label),
      make("pre", { tabindex: "0", role: "region", "aria-label": `${label} of ${name}` }, content)];
    if (argv) {
      const line = commandLine(argv, environment);
      details.append(...block("Command line", line), copyButton("Copy command line", () => line));
    } else details.append(make("p", {}, "The command line was not recorded."));
    ["Standard output", "Standard error"].forEach((label, number) => {
      const cut = streams[2 + number] ? `, first ${data.head} characters` : "";
      if (streams[number]) details.append(...block(label + cut, streams[number]));
      else details.append(make("p", {}, `${label}: empty.`));
    });
  }
  if (data.logs[row]) details.append(make("p", {}, logLink(data, row, "Stored logs")));
  return details;
}

function runsTable(data, rows) {
  const columns = RUN_COLUMNS.map((name) => data.byName[name]);
  const heads = columns.map((column) =>
    make("th", { scope: "col", "data-number": Boolean(column.numbers) }, make("button", { type: "button" }, column.label)));
  const lines = rows.map((row) => make("tr", {}, ...columns.map((column) => {
    const text = cellText(column, row);
    if (column.name === "solver") return make("th", { scope: "row" }, runName(data, row));
    return make("td", { class: column.numbers ? "number" : column.name === "outcome" ? outcomeClass(text) : column.name === "detail" ? "text" : null }, text);
  })));
  const table = make("table", { class: "sortable runs" }, make("caption", {}, "Runs on this instance"),
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
  return wide("Runs on this instance", table);
}

function bestRun(data, rows) {
  const solved = rows.filter((row) => ["verified", "falsified"].includes(cellText(data.byName.outcome, row)));
  const wall = data.byName.wall_s.numbers;
  return solved.sort((a, b) => wall[a] - wall[b])[0];
}

const ANSWERS = {
  falsified: "Not robust (falsified): there is such an input",
  verified: "Robust (verified): there is no such input",
  unknown: "Not known: no solver answered",
};

function answerList(data, instance, rows) {
  const truth = cellText(data.byName.truth, rows[0]), best = bestRun(data, rows);
  const by = best === undefined ? "" : `; fastest in ${cellText(data.byName.wall_s, best)} s by ${runName(data, best)}`;
  const told = [["question", instance.question], ["answer", (ANSWERS[truth] || truth) + by, truth]];
  if (instance.means) told.push([truth === "falsified" ? "this means" : "falsified would mean", instance.means]);
  const wrong = rows.filter((row) => cellText(data.byName.outcome, row) === "wrong");
  if (wrong.length) told.push(["wrong", wrong.map((row) => `${runName(data, row)}: ${cellText(data.byName.detail, row)}`).join("; "), "wrong"]);
  const symbols = make("details", {}, make("summary", {}, "The question in symbols"), make("p", {}, instance.asked));
  return [factList(told), symbols];
}

function factList(told) {
  const list = make("dl", { class: "facts" });
  for (const [name, value, kind = null] of told) list.append(make("dt", {}, name), make("dd", { class: kind }, value));
  return list;
}

// A line for a shell that puts the same solvers on the query again.
function againLine(data, instance, rows) {
  const [target, ...end] = data.again;
  const names = [...new Set(rows.map((row) => cellText(data.byName.solver, row)))];
  const limit = String(Math.max(...rows.map((row) => data.byName.limit_s.numbers[row])));
  return ["salver", "run", target, "--only", instance.name, "--solvers", names.join(","), "--timeout", limit, ...end].map(quoted).join(" ");
}

function addressOf(data, number) {
  return `#instance/${encodeURIComponent(data.ids[number])}`;
}

// `order` is the way through the instances: those of the filtered results, as they are sorted.
function instanceNav(data, number, order, isFiltered) {
  const at = order.indexOf(number);
  const step = (to, id, text, arrow) => make("li", {}, order[to] === undefined
    ? make("span", { class: "off" }, text)
    : make("a", { href: addressOf(data, order[to]), id, "aria-keyshortcuts": arrow }, text));
  const where = `${at + 1} of ${order.length}${isFiltered ? " in the filtered results" : ""}`;
  return make("nav", { "aria-label": "Instance" }, make("ul", {},
    make("li", {}, make("a", { href: "#results", id: "back", "aria-keyshortcuts": "Escape" }, "Back to the results")),
    step(at - 1, "before", "\u2190 Previous instance", "ArrowLeft"),
    make("li", {}, where),
    step(at + 1, "after", "Next instance \u2192", "ArrowRight")),
  make("span", { class: "note" }, "Keys: left and right arrow, Escape."),
  copyButton("Copy link", () => location.href));
}

function renderInstance(data, number, place, order, isFiltered) {
  const instance = data.instances[number];
  const rows = [];
  data.at.forEach((at, row) => { if (at === number) rows.push(row); });
  const solver = (row) => data.order.indexOf(cellText(data.byName.solver, row));
  rows.sort((a, b) => solver(a) - solver(b) || a - b);
  const heading = make("h2", { tabindex: "-1" }, instance.headline);
  const line = againLine(data, instance, rows);
  const about = make("section", {}, make("h3", {}, "Facts of the instance"), factList([["suite", instance.suite], ...instance.facts]),
    make("h3", {}, "Run it again"), make("pre", { tabindex: "0", role: "region", "aria-label": "Command that runs it again" }, line),
    copyButton("Copy command", () => line));
  place.replaceChildren(instanceNav(data, number, order, isFiltered), heading,
    make("p", { class: "note" }, "Instance ", make("code", {}, instance.name), ` (${data.ids[number]})`),
    make("div", { class: "two" }, make("section", {}, ...answerList(data, instance, rows), make("h3", {}, "Pictures"), ...pictureSection(data, instance)), about),
    make("h3", {}, "Runs"), runsTable(data, rows),
    make("p", { class: "note" }, make("a", { href: "#terms" }, "What the words mean")),
    make("h3", {}, "Command lines and logs"),
    make("p", { class: "note" }, "As they were run: the paths are those of the run's private copy of the instance."),
    ...rows.map((row) => runDetails(data, row)));
  return heading;
}
