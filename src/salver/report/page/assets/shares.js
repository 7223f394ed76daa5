// Which share is verified, falsified and open, by what the instances are about: of the rows that the filters leave.

const GROUPS = ["network", "question", "method", "epsilon", "norm", "family", "suite"];
const MOST_SHARES = 300;

function shareBar(verified, falsified) {
  const part = (kind, from, to) => drawn("path", { class: kind, d: `M${100 * from} 1H${100 * to}V7H${100 * from}z` });
  return drawn("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    part("rest", 0, 1), part("v", 0, verified), part("f", verified, verified + falsified));
}

class Shares {
  constructor(data, place) {
    this.data = data;
    this.keys = GROUPS.filter((name) => data.byName[name].telling > 1);
    this.by = make("select", { id: "by" }, make("option", { value: "" }, "all instances"),
      ...this.keys.map((name) => make("option", { value: name }, data.byName[name].label)));
    this.by.value = this.keys.find((name) => data.byName[name].telling <= data.ids.length / 3) || "";
    this.by.addEventListener("change", () => this.render());
    this.table = make("div", {});
    place.append(make("label", { for: "by" }, "By", this.by), this.table);
  }

  // `counted` has every instance of a solver once.
  show(counted) {
    this.counted = counted;
    this.render();
  }

  // Of each group: of each solver its instances, verified and falsified ones, and last of the virtual best.
  groups() {
    const { data, counted } = this, { outcome, solver } = data.byName;
    const column = data.byName[this.by.value], cells = column && (column.codes || column.numbers);
    const kinds = outcome.values.map((word) => ["verified", "falsified"].indexOf(word) + 1);
    const found = new Map(), width = 3 * solver.values.length + 3;
    const add = (row, who) => {
      const group = cells ? cells[row] : 0, kind = kinds[outcome.codes[row]];
      let counts = found.get(group);
      if (!counts) found.set(group, counts = new Int32Array(width));
      counts[3 * who] += 1;
      if (kind) counts[3 * who + kind] += 1;
    };
    for (const row of counted) add(row, solver.codes[row]);
    if (solver.values.length > 1) for (const row of virtualBest(data, counted)) add(row, solver.values.length);
    return [...found].sort((a, b) => a[0] - b[0]);
  }

  render() {
    const { data } = this, column = data.byName[this.by.value], { values } = data.byName.solver;
    const nameOf = (group) => (!column ? "" : column.codes ? column.values[group] || "(none)" : group < 0 ? "(none)" : String(group));
    const place = (who) => (who === values.length ? Infinity : data.order.indexOf(values[who]));
    const order = [...values.keys(), values.length].sort((a, b) => place(a) - place(b));
    const found = this.groups().flatMap(([group, counts]) => order.filter((who) => counts[3 * who])
      .map((who) => [nameOf(group), who, counts.subarray(3 * who, 3 * who + 3)]));
    const total = found.length;
    const lines = found.filter(([, who]) => total <= MOST_SHARES || who === values.length).map((one) => this.line(...one));
    const heads = [...(column ? [[column.label, false]] : []), ["solver", false], ["instances", true], ["verified [95%]", true], ["falsified [95%]", true], ["open", true]];
    const caption = `Share verified and falsified${column ? `, by ${column.label}` : ""}${total > MOST_SHARES ? "; only of the virtual best, since there are so many lines" : ""}`;
    const table = make("table", { class: "sortable shares" }, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map(([name, number]) =>
        make("th", { scope: "col", "data-number": number }, make("button", { type: "button" }, name))))),
      make("tbody", {}, ...lines));
    this.table.replaceChildren(wide(caption, table));
  }

  line(group, who, [runs, verified, falsified]) {
    const share = (hits) => make("td", { class: "number" }, shareText(hits, runs));
    const { values } = this.data.byName.solver, isTogether = who === values.length;
    return make("tr", { class: isTogether ? "summary" : null }, ...(this.by.value ? [make("td", { class: "text" }, group)] : []),
      make("th", { scope: "row" }, isTogether ? VIRTUAL_BEST : values[who], shareBar(verified / runs, falsified / runs)),
      make("td", { class: "number" }, String(runs)), share(verified), share(falsified),
      make("td", { class: "number" }, `${fixed(100 * ((runs - verified - falsified) / runs), 0)}%`));
  }
}
