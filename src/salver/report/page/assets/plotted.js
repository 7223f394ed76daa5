// What the plots show of the rows that the filters leave: series and tables, as figures/plots.py and figures/curve.py have them.

const SHORTEST_S = 0.01, MOST_CURVES = 10, LEAST = 2, MOST_PANELS = 12;
const MARKS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000];

const clipped = (seconds) => Math.max(SHORTEST_S, seconds);
const repetitionIn = (data) => (row) => data.byName.repetition.numbers[row];
const firstOf = (solvers) => (solvers.length > MOST_CURVES ? `; the first ${MOST_CURVES} of ${solvers.length} solvers` : "");

// Between two values where there is none, as pandas has it.
function quantile(sorted, part) {
  const at = (sorted.length - 1) * part, low = Math.floor(at);
  return low === at ? sorted[low] : sorted[low] + (sorted[low + 1] - sorted[low]) * (at - low);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = (sorted.length - 1) / 2;
  return (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
}

// Codes of the solvers that have runs, as the leaderboard has them, with their runs.
function bySolver(data, rows) {
  const { solver } = data.byName, found = grouped(rows, (row) => solver.codes[row]);
  const place = (code) => data.order.indexOf(solver.values[code]);
  return [...found].sort((a, b) => place(a[0]) - place(b[0])).map(([code, runs]) => [solver.values[code], runs]);
}

function cactusPlot(data, rows) {
  const groups = bySolver(data, rows);
  if (groups.length > 1) groups.push([VIRTUAL_BEST, [...virtualBest(data, rows, repetitionIn(data))]]);
  const series = groups.map(([name, runs]) => {
    const seconds = runs.filter((row) => isSolved(data, row)).map((row) => clipped(data.byName.wall_s.numbers[row]));
    return { name, points: seconds.sort((a, b) => a - b).map((y, at) => [at + 1, y, true]) };
  }).filter(({ points }) => points.length);
  if (!series.length) return null;
  const slowest = Math.max(...series.map(({ points }) => points[points.length - 1][1]));
  const marks = MARKS.filter((mark) => mark < 3.34 * slowest);
  const own = series.filter(({ name }) => name !== VIRTUAL_BEST).map(({ name }) => name), few = own.slice(0, MOST_CURVES);
  return {
    title: `Runs solved against wall time${firstOf(own)}`,
    headers: ["solver", ...marks.map((mark) => `solved in ${mark} s`), "median (s)"],
    rows: series.map(({ name, points }) => [name, ...marks.map((mark) => String(points.filter(([, y]) => y <= mark).length)),
      fixed(median(points.map(([, y]) => y)), 2)]),
    series: series.filter(({ name }) => name === VIRTUAL_BEST || few.includes(name)),
  };
}

function scatterPlot(data, rows) {
  const groups = bySolver(data, rows);
  if (groups.length < 2) return null;
  const cost = (row) => clipped(costOf(data, row)), repetition = repetitionIn(data);
  const key = (row) => data.at[row] + data.ids.length * repetition(row);
  const mean = (runs) => runs.reduce((sum, row) => sum + cost(row), 0) / runs.length;
  const means = new Map(groups.map(([name, runs]) => [name, mean(runs)]));
  const [reference, own] = [...groups].sort((a, b) => means.get(a[0]) - means.get(b[0]) || ascending(a[0], b[0]))[0];
  const of = new Map(own.map((row) => [key(row), row]));
  const pairs = groups.filter(([name]) => name !== reference)
    .map(([name, runs]) => [name, runs.filter((row) => of.has(key(row))).map((row) => [of.get(key(row)), row])])
    .filter(([, found]) => found.length);
  if (!pairs.length) return null;
  return {
    title: `Wall time of ${reference} against each other solver; unsolved at twice the limit${firstOf(pairs)}`,
    reference,
    headers: ["other solver", "runs", `${reference} faster`, "other faster", `only ${reference} solves`, "only the other solves"],
    rows: pairs.map(([name, found]) => {
      const counts = [found.length, 0, 0, 0, 0];
      for (const [a, b] of found) {
        const solved = [isSolved(data, a), isSolved(data, b)];
        if (solved[0] && solved[1]) {
          counts[1] += cost(a) < cost(b);
          counts[2] += cost(a) > cost(b);
        } else if (solved[0]) counts[3] += 1;
        else if (solved[1]) counts[4] += 1;
      }
      return [name, ...counts.map(String)];
    }),
    panels: pairs.slice(0, MOST_CURVES).map(([name, found]) => ({ name, points: found.map(([a, b]) => [cost(a), cost(b), false]) })),
  };
}

function sizePlot(data, rows) {
  const { neurons, wall_s: wall, limit_s: limit } = data.byName, size = (row) => neurons.numbers[row];
  const shown = rows.filter((row) => size(row) > 0);
  if (!shown.length) return null;
  const seconds = (row) => clipped((isSolved(data, row) ? wall : limit).numbers[row]);
  const sorted = Array.from(shown, size).sort((a, b) => a - b), distinct = [...new Set(sorted)];
  const ends = distinct.length > 4 ? [...new Set([0.25, 0.5, 0.75, 1].map((part) => quantile(sorted, part)))] : distinct;
  const groups = bySolver(data, shown);
  const quarter = (runs, end, at) => runs.filter((row) => size(row) <= end && (at === 0 || size(row) > ends[at - 1]));
  return {
    title: `Wall time against ReLU neurons, by solver; unsolved runs hollow at the limit${firstOf(groups)}`,
    headers: ["solver", "ReLU neurons", "runs", "solved", "median (s)"],
    rows: groups.flatMap(([name, runs]) => ends.map((end, at) => [end, quarter(runs, end, at)]).filter(([, part]) => part.length)
      .map(([end, part]) => [name, `up to ${Number(end.toPrecision(6))}`, String(part.length),
        String(part.filter((row) => isSolved(data, row)).length), fixed(median(part.map(seconds)), 2)])),
    panels: groups.slice(0, MOST_CURVES).map(([name, runs]) => ({ name, points: runs.map((row) => [size(row), seconds(row), isSolved(data, row)]) })),
  };
}

// By all solvers together, one panel a network, question and method: what is verified, and what is not falsified.
function curvePlot(data, rows) {
  const { epsilon, norm, question, network, method, outcome } = data.byName;
  const text = (column, row) => column.values[column.codes[row]];
  const known = rows.filter((row) => epsilon.numbers[row] >= 0);
  const asked = (row) => text(question, row) + (text(norm, row) === "l2" ? " (l2)" : "");
  const parts = [(row) => text(network, row), asked, (row) => text(method, row)];
  const about = parts.filter((part, at) => at === 0 || new Set(Array.from(known, part)).size > 1);
  const key = (row) => JSON.stringify([...about.map((part) => part(row)), epsilon.numbers[row]]);
  const points = [...grouped(virtualBest(data, perInstance(data, known)), key)].map(([name, runs]) => {
    const count = (word) => runs.filter((row) => text(outcome, row) === word).length;
    const names = JSON.parse(name), at = names.pop();
    return { names, epsilon: at, of: runs.length, verified: count("verified"), falsified: count("falsified") };
  }).filter(({ of }) => of >= LEAST);
  const byNames = (a, b) => { const at = a.names.findIndex((one, place) => one !== b.names[place]); return at < 0 ? a.epsilon - b.epsilon : ascending(a.names[at], b.names[at]); };
  const panels = [...grouped(points.sort(byNames), ({ names }) => names.join(", "))].filter(([, found]) => found.length >= LEAST);
  if (!panels.length) return null;
  const few = panels.slice(0, MOST_PANELS);
  return {
    title: "Robustness over epsilon, by all solvers together: verified (green) below, not falsified (orange, dashed) above, open (grey) between"
      + (few.length < panels.length ? `; the first ${MOST_PANELS} of ${panels.length} panels` : ""),
    headers: ["panel", "epsilon", "instances", "verified", "falsified", "open"],
    rows: few.flatMap(([name, found]) => found.map(({ epsilon: at, of, verified, falsified }) => [name, String(Number(at.toPrecision(6))), String(of),
      shareText(verified, of), shareText(falsified, of), `${fixed(100 * ((of - verified - falsified) / of), 0)}%`])),
    panels: few.map(([name, points]) => ({ name, points })),
  };
}

const PLOTTED = { cactus: cactusPlot, scatter: scatterPlot, "time-neurons": sizePlot, robustness: curvePlot };
