// One instance: what it asks, its pictures, and every run on it with command line and logs.

const RUN_COLUMNS = ["solver", "outcome", "claim", "witness", "gradient", "proof", "termination", "wall_s", "cpu_s", "memory_mb", "limit_s", "detail"];

function quoted(part) {
  return /^[\w@%+=:,./-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`;
}

function commandLine(argv, environment) {
  return [...environment.map(([key, value]) => `${key}=${quoted(value)}`), ...argv.map(quoted)].join(" ");
}

function runDetails(data, row) {
  const solver = cellText(data.byName.solver, row);
  const repetition = cellText(data.byName.repetition, row);
  const name = repetition === "0" ? solver : `${solver}, repetition ${repetition}`;
  const summary = make("summary", {}, `${name}: ${cellText(data.byName.outcome, row)}`);
  const details = make("details", {}, summary);
  const text = data.textOf.get(row);
  if (!text) {
    details.append(make("p", {}, "Command line and logs of this run are not in the page. "));
  } else {
    const [argv, environment, ...streams] = text;
    const block = (label, content) => [make("h4", {}, label),
      make("pre", { tabindex: "0", role: "region", "aria-label": `${label} of ${name}` }, content)];
    if (argv) details.append(...block("Command line", commandLine(argv, environment)));
    else details.append(make("p", {}, "The command line was not recorded."));
    ["Standard output", "Standard error"].forEach((label, number) => {
      const cut = streams[2 + number] ? `, first ${data.head} characters` : "";
      if (streams[number]) details.append(...block(label + cut, streams[number]));
      else details.append(make("p", {}, `${label}: empty.`));
    });
  }
  details.append(make("p", {}, logLink(data, row, "Stored logs")));
  return details;
}

function runsTable(data, rows) {
  const columns = RUN_COLUMNS.map((name) => data.byName[name]);
  const heads = columns.map((column) =>
    make("th", { scope: "col", "data-number": Boolean(column.numbers) }, make("button", { type: "button" }, column.label)));
  const lines = rows.map((row) => make("tr", {}, ...columns.map((column) => {
    const text = cellText(column, row);
    if (column.name === "solver") return make("th", { scope: "row" }, text);
    return make("td", { class: column.numbers ? "number" : column.name === "outcome" ? text.replace(/\W/g, "") : null }, text);
  })));
  const table = make("table", { class: "sortable" }, make("caption", {}, "Runs on this instance"),
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
  sortable(table);
  return make("div", { class: "wide", role: "region", "aria-label": "Runs on this instance", tabindex: "0" }, table);
}

function bestRun(data, rows) {
  const solved = rows.filter((row) => ["verified", "falsified"].includes(cellText(data.byName.outcome, row)));
  const wall = data.byName.wall_s.numbers;
  return solved.sort((a, b) => wall[a] - wall[b])[0];
}

function renderInstance(data, number, place) {
  const instance = data.instances[number];
  const rows = [];
  data.at.forEach((at, row) => { if (at === number) rows.push(row); });
  const link = (to, text) => make("a", { href: to === null ? null : `#instance/${encodeURIComponent(data.instances[to].id)}` }, text);
  const ways = [make("li", {}, make("a", { href: "#results", id: "back" }, "Back to the results"))];
  if (number > 0) ways.push(make("li", {}, link(number - 1, "Previous instance")));
  if (number + 1 < data.instances.length) ways.push(make("li", {}, link(number + 1, "Next instance")));
  const heading = make("h2", { tabindex: "-1" }, `Instance ${instance.name}`);
  const truth = [["suite", instance.suite], ["truth", cellText(data.byName.truth, rows[0])]];
  const best = bestRun(data, rows);
  if (best !== undefined) truth.push(["virtual best", `${cellText(data.byName.solver, best)}, ${cellText(data.byName.wall_s, best)} s`]);
  const facts = make("dl", { class: "facts" });
  for (const [name, value] of [...truth, ...instance.facts]) facts.append(make("dt", {}, name), make("dd", {}, value));
  place.replaceChildren(make("nav", { "aria-label": "Instance" }, make("ul", {}, ...ways)), heading, facts,
    make("h3", {}, "Pictures"), ...pictureSection(instance.picture),
    make("h3", {}, "Runs"), runsTable(data, rows),
    make("h3", {}, "Command lines and logs"), ...rows.map((row) => runDetails(data, row)));
  return heading;
}

function pictureSection(picture) {
  if (!picture) return [make("p", {}, "There are no pictures of this instance in the page.")];
  const told = picture.witness
    ? `The witness is of ${picture.witness.solver}, replayed as ${picture.witness.verdict.replaceAll("_", " ")}. The network gives xhat class ${picture.xhat.label} and the witness class ${picture.witness.label}.`
    : `No solver has a witness. The network gives xhat class ${picture.xhat.label}.`;
  return [make("p", {}, told), ...pictureFigures(picture), ...pictureNumbers(picture)];
}
