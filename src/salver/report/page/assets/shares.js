// Which share is verified, falsified and open, by what the instances are about: of the rows that the filters leave.

const GROUPS = ["network", "question", "method", "epsilon", "norm", "family", "suite"];
const MOST_SHARES = 300;
const TOGETHER = "all together";

// Both ends of the Wilson score interval at 95 %.
function wilson(hits, of) {
  const z = 1.959964, share = hits / of, whole = 1 + z * z / of;
  const reach = z * Math.sqrt(share * (1 - share) / of + z * z / (4 * of * of));
  const end = (sign) => Math.min(1, Math.max(0, (share + z * z / (2 * of) + sign * reach) / whole));
  return [end(-1), end(1)];
}

function shareBar(verified, falsified) {
  const part = (kind, from, to) => drawn("path", { class: kind, d: `M${100 * from} 1H${100 * to}V7H${100 * from}z` });
  return drawn("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    part("rest", 0, 1), part("v", 0, verified), part("f", verified, verified + falsified));
}

class Shares {
  constructor(data, place) {
    this.data = data;
    this.keys = GROUPS.filter((name) => tellingValues(data.byName[name]).size > 1);
    this.by = make("select", { id: "by" }, make("option", { value: "" }, "all instances"),
      ...this.keys.map((name) => make("option", { value: name }, data.byName[name].label)));
    this.by.value = this.keys.find((name) => tellingValues(data.byName[name]).size <= data.ids.length / 3) || "";
    this.by.addEventListener("change", () => this.render());
    this.table = make("div", {});
    place.append(make("label", { for: "by" }, "By", this.by), this.table);
  }

  show(rows) {
    this.rows = rows;
    this.render();
  }

  // Runs, verified and falsified ones by group and solver; together an instance counts once.
  counted() {
    const { data, rows } = this, { outcome, solver } = data.byName;
    const column = data.byName[this.by.value];
    const cells = column ? column.codes || column.numbers : null;
    const word = { verified: 1, falsified: 2 };
    const found = new Map(), best = new Uint8Array(data.ids.length);
    const count = (group, who, kind) => {
      if (!found.has(group)) found.set(group, new Map());
      const own = found.get(group);
      if (!own.has(who)) own.set(who, [0, 0, 0]);
      const numbers = own.get(who);
      numbers[0] += 1;
      if (kind) numbers[kind] += 1;
    };
    const groupOf = new Map();
    for (const row of rows) {
      const kind = word[outcome.values[outcome.codes[row]]] || 0, group = cells ? cells[row] : 0;
      count(group, solver.codes[row], kind);
      best[data.at[row]] = Math.max(best[data.at[row]], kind);
      groupOf.set(data.at[row], group);
    }
    if (solver.values.length > 1) for (const [instance, group] of groupOf) count(group, -1, best[instance]);
    return found;
  }

  render() {
    const { data } = this, column = data.byName[this.by.value], { values } = data.byName.solver;
    const nameOf = (group) => (!column ? "" : column.codes ? column.values[group] || "(none)" : group < 0 ? "(none)" : String(group));
    const found = [...this.counted()].map(([group, own]) => [nameOf(group), own]);
    found.sort((a, b) => alphabetical(a[0], b[0]));
    const place = (who) => (who < 0 ? Infinity : data.order.indexOf(values[who]));
    const total = found.reduce((sum, [, own]) => sum + own.size, 0);
    const lines = found.flatMap(([group, own]) => [...own].sort((a, b) => place(a[0]) - place(b[0]))
      .filter(([who]) => total <= MOST_SHARES || who < 0).map((one) => this.line(group, ...one)));
    const heads = [...(column ? [[column.label, false]] : []), ["solver", false], ["runs", true], ["verified [95%]", true], ["falsified [95%]", true], ["open", true]];
    const caption = `Share verified and falsified${column ? `, by ${column.label}` : ""}${total > MOST_SHARES ? "; only all solvers together, since there are so many" : ""}`;
    const table = make("table", { class: "sortable shares" }, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map(([name, number]) =>
        make("th", { scope: "col", "data-number": number }, make("button", { type: "button" }, name))))),
      make("tbody", {}, ...lines));
    sortable(table);
    this.table.replaceChildren(wide(caption, table));
  }

  line(group, who, [runs, verified, falsified]) {
    const share = (hits) => {
      const [low, high] = wilson(hits, runs).map((end) => (100 * end).toFixed(0));
      return make("td", { class: "number" }, `${(100 * hits / runs).toFixed(0)}% [${low}, ${high}]`);
    };
    return make("tr", { class: who < 0 ? "summary" : null }, ...(this.by.value ? [make("td", { class: "text" }, group)] : []),
      make("th", { scope: "row" }, who < 0 ? TOGETHER : this.data.byName.solver.values[who], shareBar(verified / runs, falsified / runs)),
      make("td", { class: "number" }, String(runs)), share(verified), share(falsified),
      make("td", { class: "number" }, `${(100 * (runs - verified - falsified) / runs).toFixed(0)}%`));
  }
}
