// The results: only the rows of one page are in the document, however many there are.

const CHOICES = ["suite", "family", "network", "question", "method", "epsilon", "norm", "solver", "outcome", "witness", "proof"];
const LONE = ["suite", "family", "network", "question", "method", "epsilon", "norm", "repetition", "witness", "proof", "neurons", "limit_s"];
const SIZES = [50, 100, 500, 1000];

class ResultsTable {
  // `follow` is told of the rows that the filters leave, and of the filters.
  constructor(data, follow) {
    this.data = data;
    this.follow = follow;
    this.columns = data.columns.filter((column) => !column.hidden && !this.isLone(column));
    this.state = { words: "", chosen: {}, sort: "", descending: false, page: 0, size: SIZES[1] };
    this.head = document.querySelector("#runs thead tr");
    this.body = document.querySelector("#runs tbody");
    this.status = document.getElementById("shown");
    this.makeFilters(document.getElementById("filters"));
    this.makeHead();
    this.makePager(document.getElementById("pager"));
    this.update();
  }

  // A column that has nothing but one value tells nothing.
  isLone(column) {
    if (column.name === "detail") return column.telling === 0;
    return LONE.includes(column.name) && column.telling < 2;
  }

  makeFilters(form) {
    this.search = make("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
    const fields = make("div", { class: "fields" }, make("label", { for: "filter" }, "Text in any column", this.search));
    this.selects = {};
    for (const name of CHOICES) {
      const column = this.data.byName[name];
      const keys = choices(this.data, column);
      if (keys.length < 2 || this.isLone(column)) continue;
      const select = make("select", { id: `filter-${name}` }, make("option", { value: "" }, "all"));
      select.append(...keys.map((value) => make("option", { value: `=${value}` }, value || "(none)")));
      fields.append(make("label", { for: select.id }, column.label, select));
      this.selects[name] = select;
    }
    const clear = make("button", { type: "button", class: "plain", id: "clear" }, "Clear filters");
    const save = make("button", { type: "button", class: "plain", id: "save" }, "Save these rows as CSV");
    fields.append(clear, save);
    const told = "Filters work on the leaderboard, the shares, the plots, the gallery and the results.";
    const isWide = matchMedia("(min-width: 40rem)").matches;
    form.append(make("details", { open: isWide }, make("summary", {}, "Filters"), fields, make("p", { class: "note" }, told)));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.change({ page: 0 }));
    for (const button of [clear, document.getElementById("reset")]) button.addEventListener("click", () => this.clear());
    save.addEventListener("click", () => this.save());
  }

  clear() {
    this.search.value = "";
    for (const select of Object.values(this.selects)) select.value = "";
    this.change({ page: 0 });
    const isFolded = this.search.getClientRects().length === 0;
    (isFolded ? this.search.closest("details").firstElementChild : this.search).focus({ preventScroll: true });
  }

  makeHead() {
    for (const column of this.columns) {
      const button = make("button", { type: "button" }, column.label);
      button.addEventListener("click", () => {
        const again = this.state.sort === column.name;
        this.change({ sort: column.name, descending: again && !this.state.descending, page: 0 });
      });
      const attributes = { scope: "col", "data-name": column.name, "data-number": Boolean(column.numbers) };
      this.head.append(make("th", attributes, button));
      if (column.name === "outcome") this.head.append(make("th", { scope: "col" }, "log"));
    }
  }

  makePager(nav) {
    const step = (id, text, to) => {
      const button = make("button", { type: "button", class: "plain", id }, text);
      button.addEventListener("click", () => this.change({ page: to() }));
      nav.append(button);
      return button;
    };
    this.back = [step("first", "First", () => 0), step("previous", "Previous", () => this.state.page - 1)];
    this.where = make("span", { id: "where" });
    nav.append(this.where);
    this.forth = [step("next", "Next", () => this.state.page + 1), step("last", "Last", () => this.pages() - 1)];
    this.size = make("select", { id: "size" }, ...SIZES.map((size) => make("option", { value: size }, String(size))));
    this.size.value = String(this.state.size);
    this.size.addEventListener("change", () => this.change({ size: Number(this.size.value), page: 0 }));
    nav.append(make("label", { for: "size" }, "Rows a page", this.size));
  }

  pages() {
    return Math.max(1, Math.ceil(this.rows.length / this.state.size));
  }

  change(changes) {
    const chosen = Object.entries(this.selects).filter(([, select]) => select.value !== "");
    this.state.words = this.search.value;
    this.state.chosen = Object.fromEntries(chosen.map(([name, select]) => [name, select.value.slice(1)]));
    Object.assign(this.state, changes);
    this.update();
    history.replaceState(null, "", `#results?${this.query()}`);
  }

  query() {
    const { words, chosen, sort, descending, page, size } = this.state;
    const query = new URLSearchParams(chosen);
    if (words) query.set("q", words);
    if (sort) query.set("sort", (descending ? "-" : "") + sort);
    if (page) query.set("page", String(page + 1));
    if (size !== SIZES[1]) query.set("size", String(size));
    return query;
  }

  restore(query) {
    this.search.value = query.get("q") || "";
    for (const [name, select] of Object.entries(this.selects)) {
      select.value = query.has(name) ? `=${query.get(name)}` : "";
      if (select.selectedIndex < 0) select.value = "";
    }
    const wanted = query.get("sort") || "";
    const sort = wanted.replace(/^-/, "");
    const size = SIZES.includes(Number(query.get("size"))) ? Number(query.get("size")) : SIZES[1];
    this.size.value = String(size);
    const page = Math.max(0, (Number.parseInt(query.get("page"), 10) || 1) - 1);
    this.change({ sort: this.data.byName[sort] ? sort : "", descending: wanted.startsWith("-"), page, size });
  }

  update() {
    const { words, chosen, sort, descending } = this.state;
    const split = words.toLowerCase().split(/\s+/).filter(Boolean);
    const key = JSON.stringify([split, chosen, sort, descending]);
    if (key !== this.key) {
      this.rows = selectedRows(this.data, { words: split, chosen, sort, descending });
      this.key = key;
      this.follow(this.rows, words ? { ...chosen, q: words } : chosen);
      this.tell(words, chosen);
    }
    this.state.page = Math.min(this.state.page, this.pages() - 1);
    this.render();
  }

  render() {
    const { sort, descending, page, size } = this.state;
    for (const heading of this.head.cells) {
      if (heading.dataset.name === sort) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
    const start = page * size;
    const shown = this.rows.subarray(start, start + size);
    this.body.closest(".wide").style.containIntrinsicBlockSize = `auto ${2 * shown.length + 4}rem`;
    this.body.replaceChildren(...Array.from(shown, (row) => this.row(row)));
    if (!shown.length) {
      const told = `No run matches these filters; Clear filters shows all ${this.data.rows} again.`;
      this.body.append(make("tr", {}, make("td", { colspan: this.columns.length + 1 }, told)));
    }
    const pages = this.pages();
    this.where.textContent = `page ${page + 1} of ${pages}`;
    for (const button of this.back) button.disabled = page === 0;
    for (const button of this.forth) button.disabled = page === pages - 1;
    const by = sort ? `, sorted by ${this.data.byName[sort].label}, ${descending ? "descending" : "ascending"}` : "";
    const range = shown.length ? `Rows ${start + 1} to ${start + shown.length} of ${this.rows.length}` : "No rows";
    const all = this.rows.length < this.data.rows ? ` (${this.data.rows} in all)` : "";
    this.status.textContent = range + all + by;
  }

  // A line in sight while not all runs are shown: which filters are set, and what they leave.
  tell(words, chosen) {
    const { data, rows } = this, isFiltered = rows.length < data.rows;
    document.documentElement.classList.toggle("filtered", isFiltered);
    const line = document.getElementById("filtered");
    line.hidden = !isFiltered;
    if (!isFiltered) return;
    // What sticks or is scrolled to stands below the line.
    this.below = this.below || new ResizeObserver(() => document.documentElement.style.setProperty("--under", `${line.offsetHeight}px`));
    this.below.observe(line);
    const set = [...(words ? [`text \u201c${words}\u201d`] : []), ...Object.entries(chosen).map(([name, value]) => `${data.byName[name].label} ${value || "(none)"}`)];
    document.getElementById("kept").textContent =
      `Filtered: ${this.instances().length} of ${data.ids.length} instances, ${rows.length} of ${data.rows} runs`;
    document.getElementById("set").textContent = set.join(", ");
  }

  // The instances of the rows found, each once, in the order of the rows.
  instances() {
    return [...new Set(Array.from(this.rows, (row) => this.data.at[row]))];
  }

  turnTo(instance) {
    const position = this.rows.findIndex((row) => this.data.at[row] === instance);
    if (position >= 0) this.change({ page: Math.floor(position / this.state.size) });
  }

  row(row) {
    const data = this.data;
    const cells = this.columns.flatMap((column) => {
      const text = cellText(column, row);
      if (column.name === "instance") {
        return make("th", { scope: "row" }, make("a", { href: addressOf(data, data.at[row]) }, text));
      }
      if (column.name === "outcome") return [make("td", { class: outcomeClass(text) }, text), make("td", {}, logLink(data, row))];
      return make("td", { class: column.numbers ? "number" : "text" }, text);
    });
    return make("tr", {}, ...cells);
  }

  save() {
    const cell = (text) => {
      // What a spreadsheet would take for a formula gets an apostrophe.
      const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const line = (cells) => cells.map(cell).join(",");
    const exact = (column, row) => column.numbers ? String(column.numbers[row]) : cellText(column, row);
    const columns = this.data.columns;
    const lines = [line(columns.map((column) => column.name))];
    for (const row of this.rows) lines.push(line(columns.map((column) => exact(column, row))));
    const address = URL.createObjectURL(new Blob([lines.join("\n"), "\n"], { type: "text/csv" }));
    make("a", { href: address, download: "results.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}

const outcomeClass = (outcome) => outcome.replace(/\W/g, "");

function logLink(data, row, text = "log") {
  if (!data.logs[row]) return "";
  const of = `${cellText(data.byName.solver, row)} on ${cellText(data.byName.instance, row)}`;
  return make("a", { href: data.logs[row] }, text, make("span", { class: "unseen" }, ` of ${of}`));
}
