// The leaderboard of the rows that the filters leave, in the columns of the whole run's; the whole run's rows come back.

class Board {
  constructor(data, table) {
    this.data = data;
    this.table = table;
    this.heads = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.name);
    this.whole = [...table.tBodies[0].rows];
  }

  // `chosen` are the filters, which a count leads on with; without `counted` the whole run is shown.
  show(counted, chosen) {
    for (const cell of this.table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    const lines = counted ? this.lines(counted) : [];
    const rows = counted ? lines.map((line) => this.row(line, lines, chosen)) : this.whole;
    this.table.tBodies[0].replaceChildren(...rows);
    if (!rows.length) this.table.tBodies[0].append(make("tr", {}, make("td", { colspan: this.heads.length }, "The filters leave no run.")));
  }

  // Of one solver there is no virtual best.
  lines(counted) {
    const lines = leaderboard(this.data, counted, this.table.dataset.by);
    const isSole = new Set(lines.map((line) => line.who)).size === 2;
    return isSole ? lines.filter((line) => !line.isVirtual) : lines;
  }

  row(line, lines, chosen) {
    const rank = line.isVirtual || this.data.unfinished ? "" : 1 + lines.findIndex((one) => one.group === line.group && one.score === line.score && !one.isVirtual)
      - lines.findIndex((one) => one.group === line.group);
    const kind = line.isVirtual || line.group === TOTAL ? "summary" : rank === 1 && line.solved ? "best" : null;
    const isAlone = lines.every((one) => one.who === lines[0].who);
    return make("tr", { class: kind }, ...this.heads.map((name) => this.cell(name, line, rank, chosen, isAlone)));
  }

  cell(name, line, rank, chosen, isAlone) {
    const number = (text) => make("td", { class: "number" }, String(text));
    if (name === "solver") return make("th", { scope: "row" }, line.solver);
    if (name === this.table.dataset.by) return make("td", {}, line.group);
    if (name === "#") return number(rank);
    if (name === "score") return number(fixed(line.score, 1));
    if (name === "par2") return number(fixed(line.par2, 2));
    if (name === "proved") return number(line.proved);
    if (name === "fastest" || name === "alone") return number(line.isVirtual || isAlone ? "" : line[name]);
    if (name === "share") return this.share(line);
    return this.count(name, line, chosen);
  }

  share(line) {
    const { runs, solved } = line, [low, high] = wilson(solved, runs);
    const bar = shareBar(line.count("verified") / runs, line.count("falsified") / runs);
    bar.append(drawn("path", { class: "i", d: `M${100 * low} 4H${100 * high}` }));
    return make("td", { class: "number share" }, `${solved}/${runs}: ${shareText(solved, runs)}`, bar);
  }

  count(name, line, chosen) {
    const count = line.count(name);
    if (!count) return make("td", { class: "number" }, "0");
    const wanted = { ...chosen, solver: line.solver, outcome: name };
    if (line.group !== TOTAL) wanted[this.table.dataset.by] = line.group;
    const shown = line.isVirtual ? String(count) : make("a", { href: `#results?${new URLSearchParams(wanted)}` }, String(count));
    return make("td", { class: `number ${outcomeClass(name)}` }, shown);
  }
}
