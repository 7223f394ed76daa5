// Which view is shown, and what both have in common: sorting, scrolling, printing.

// One listener for the tables that are there and those that come.
function sortOnClick() {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("table.sortable thead button");
    if (button) sortBy(button.closest("th"));
  });
}

function sortBy(heading) {
  const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent;
  const number = (row) => { const found = Number.parseFloat(text(row)); return Number.isNaN(found) ? Infinity : found; };
  const order = "number" in heading.dataset ? (a, b) => (number(a) > number(b)) - (number(a) < number(b)) : (a, b) => alphabetical(text(a), text(b));
  body.append(...[...body.rows].sort((a, b) => sign * order(a, b)));
}

class Views {
  constructor(data, table) {
    this.data = data;
    this.table = table;
    this.report = document.getElementById("report");
    this.instance = document.getElementById("instance");
    this.title = document.title;
    this.left = { scroll: 0, hash: "", link: null };
    this.shown = null;
    document.addEventListener("click", (event) => this.remember(event));
    document.addEventListener("keydown", (event) => this.step(event));
    // Of addresses that follow fast only the last is shown.
    addEventListener("hashchange", (event) => { if (event.newURL === location.href) this.route(true); });
    this.route(false);
  }

  // Where the reader was in the report, so that going back leads there.
  remember(event) {
    const link = event.target.closest("a[href^='#instance/']");
    if (link && !this.report.hidden) this.left = { scroll: scrollY, hash: link.getAttribute("href"), link };
  }

  // Arrows lead through the instances, unless they scroll what has the focus or move in a field.
  step(event) {
    const way = { ArrowLeft: "before", ArrowRight: "after", Escape: "back" }[event.key];
    if (!way || this.instance.hidden || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea, pre, .wide")) return;
    const link = document.getElementById(way);
    if (!link) return;
    event.preventDefault();
    location.hash = link.getAttribute("href");
  }

  route(moved) {
    const hash = location.hash.slice(1);
    const at = hash.indexOf("?");
    const name = at < 0 ? hash : hash.slice(0, at);
    if (name.startsWith("instance/")) this.showInstance(name.slice("instance/".length));
    else this.showReport(name, at < 0 ? "" : hash.slice(at + 1), moved);
  }

  async showInstance(encoded) {
    const { hash } = location;
    this.report.hidden = true;
    await this.data.logged();
    if (location.hash !== hash) return;
    // Only now, so that nobody sees, or prints, a view that is still empty.
    this.instance.hidden = false;
    let number;
    try {
      number = this.data.numberOf.get(decodeURIComponent(encoded));
    } catch {
      number = undefined;
    }
    if (number === undefined) {
      const back = make("a", { href: "#results" }, "Back to the results");
      this.instance.replaceChildren(make("h2", { tabindex: "-1" }, "No such instance"), make("p", {}, back));
      return;
    }
    const found = this.table.instances();
    const isFound = found.includes(number);
    const isFiltered = isFound && this.table.rows.length < this.data.rows;
    const order = isFound ? found : this.data.instances.map((_, position) => position);
    const heading = renderInstance(this.data, number, this.instance, order, isFiltered);
    this.shown = number;
    document.title = `${this.data.instances[number].name} - ${this.title}`;
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }

  showReport(name, query, moved) {
    const returned = !this.instance.hidden;
    this.instance.hidden = true;
    this.instance.replaceChildren();
    this.report.hidden = false;
    document.title = this.title;
    if (name === "results" && query !== this.table.query().toString() && query) this.table.restore(new URLSearchParams(query));
    if (returned && this.shown !== null && (name === "results" || name === "")) {
      this.returnTo(addressOf(this.data, this.shown));
      return;
    }
    const section = name && document.getElementById(name);
    if (!section || !this.report.contains(section)) return;
    const fold = section.closest("details");
    if (fold) fold.open = true;
    section.scrollIntoView();
    const heading = section.querySelector("h2, summary");
    if (heading && moved) heading.focus({ preventScroll: true });
  }

  // Back from an instance: where the reader came from, or at its row after steps from one to the next.
  returnTo(address) {
    const isOpener = address === this.left.hash;
    if (!isOpener) this.table.turnTo(this.shown);
    const links = [...this.table.body.querySelectorAll("a[href^='#instance/']")];
    const opener = isOpener && this.left.link.isConnected ? this.left.link : null;
    const link = opener || links.find((one) => one.getAttribute("href") === address);
    if (isOpener) scrollTo(0, this.left.scroll);
    else (link || this.table.status).scrollIntoView({ block: "center" });
    if (link) link.focus({ preventScroll: true });
  }
}

// What is folded is not printed, so everything in view is unfolded while printing.
function unfoldForPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) {
      details.open = true;
      // The browser's own event comes after the page is printed.
      details.dispatchEvent(new Event("toggle"));
    }
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
}

// What the report itself wrote for the whole run, and what takes its place while filters are set.
class Follow {
  constructor(data) {
    this.data = data;
    this.isWhole = true;
  }

  parts() {
    const { data } = this;
    this.boards = this.boards || [...document.querySelectorAll("table.board")].map((table) => new Board(data, table));
    this.figures = this.figures || [...document.querySelectorAll("figure[data-plot]")].map((figure) => new Figure(data, figure));
    return this;
  }

  // Plots take longest, so they are drawn one by one, and of filters that change fast only the last.
  async show(rows, counted, chosen) {
    const isWhole = rows.length === this.data.rows;
    this.wanted = rows;
    if (isWhole && this.isWhole) return;
    this.isWhole = isWhole;
    const { boards, figures } = this.parts();
    for (const board of boards) board.show(isWhole ? null : counted, chosen);
    for (const figure of figures) {
      if (!isWhole) await drawnFirst();
      if (this.wanted !== rows) return;
      figure.show(isWhole ? null : rows.slice().sort());
    }
  }
}

async function start() {
  document.documentElement.classList.add("js");
  sortOnClick();
  for (const region of document.querySelectorAll(".wide")) watched(region);
  unfoldForPrint();
  try {
    const data = await readData();
    const shares = new Shares(data, document.getElementById("pivot"));
    const gallery = new Gallery(data, document.getElementById("gallery"));
    const follow = new Follow(data);
    const table = new ResultsTable(data, (rows, chosen) => {
      const counted = perInstance(data, rows.slice().sort());
      shares.show(counted);
      follow.show(rows, counted, chosen);
      gallery.show([...new Set(Array.from(rows, (row) => data.at[row]))]);
    });
    new Views(data, table);
    const { dataset } = document.documentElement;
    dataset.ready = String(Math.round(performance.now()));
    await data.whole();
    dataset.whole = String(Math.round(performance.now()));
  } catch (error) {
    document.getElementById("shown").textContent =
      `The results cannot be shown: ${error.message}. The same rows are in results.parquet and in results/.`;
    throw error;
  }
}

start();
