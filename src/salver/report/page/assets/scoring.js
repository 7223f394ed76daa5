// Counts, score, PAR-2 and the virtual best of the rows that the filters leave: as judge/scoring.py has them.

const TOTAL = "total", VIRTUAL_BEST = "virtual best";

// Texts in the order of their code units, numbers by value: as Python sorts.
const ascending = (a, b) => (a > b) - (a < b);

// Digits behind the point, halves to the even neighbour: as Python writes numbers.
function fixed(value, digits) {
  const scaled = value * 10 ** digits;
  const isHalf = Math.abs(scaled % 1) === 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  return (isHalf ? 2 * Math.round(scaled / 2) / 10 ** digits : value).toFixed(digits);
}

const rankOf = (data, row) => data.ranks[data.byName.outcome.codes[row]];
const isSolved = (data, row) => rankOf(data, row) === 0;

// Wall seconds, twice the limit where the run is not solved.
const costOf = (data, row) => (isSolved(data, row) ? data.byName.wall_s.numbers[row] : 2 * data.byName.limit_s.numbers[row]);

function grouped(rows, keyOf) {
  const found = new Map();
  for (const row of rows) {
    const key = keyOf(row), group = found.get(key);
    if (group) group.push(row);
    else found.set(key, [row]);
  }
  return found;
}

// One row for each solver and instance: the median repetition (of two the worse one), or a wrong one where any is wrong.
function perInstance(data, rows) {
  const { repetition, solver, wall_s: wall } = data.byName;
  if (rows.every((row) => repetition.numbers[row] === 0)) return rows;
  const worst = Math.max(...data.ranks.filter((_, code) => data.byName.outcome.values[code] === "wrong"));
  const median = (runs) => {
    runs.sort((a, b) => rankOf(data, a) - rankOf(data, b) || wall.numbers[a] - wall.numbers[b] || a - b);
    const last = runs[runs.length - 1];
    return rankOf(data, last) === worst ? last : runs[runs.length >> 1];
  };
  const groups = grouped(rows, (row) => data.at[row] * solver.values.length + solver.codes[row]);
  return Int32Array.from(groups.values(), median).sort();
}

// The rows that a solver would have that picks the best of all runs for each instance and repetition.
function virtualBest(data, rows, repetitionOf = () => 0) {
  const { at, ids, ranks } = data, { solver, wall_s: { numbers: wall }, outcome: { codes } } = data.byName;
  const name = (row) => solver.values[solver.codes[row]];
  const isBetter = (a, b) => (ranks[codes[a]] - ranks[codes[b]] || wall[a] - wall[b] || ascending(name(a), name(b))) < 0;
  const picked = [];
  for (const row of rows) {
    const key = at[row] + ids.length * repetitionOf(row), best = picked[key];
    if (best === undefined || isBetter(row, best)) picked[key] = row;
  }
  return Int32Array.from(picked.filter((row) => row !== undefined)).sort();
}

const POINTS = { right: 10, wrong: -150 };

// How the lines of one group are scored, and how a line of totals is.
const PROFILES = {
  vnncomp2026: {
    score(lines) {
      const points = lines.map((line) => POINTS.right * line.solved + POINTS.wrong * line.count("wrong"));
      const best = Math.max(POINTS.right, ...points.filter((_, at) => !lines[at].isVirtual));
      lines.forEach((line, at) => { line.score = Math.min(100, 100 * points[at] / best); });
    },
    total: (parts, groups) => parts.reduce((sum, line) => sum + line.score, 0) / groups,
  },
  par2: { rising: true, score(lines) { for (const line of lines) line.score = line.par2; }, total: (parts, groups, line) => line.par2 },
  count: { score(lines) { for (const line of lines) line.score = line.solved; }, total: (parts, groups, line) => line.solved },
};

// A row of a leaderboard: how the runs of a solver in a group ended.
class BoardLine {
  constructor(data, group, who) {
    const { outcome, solver } = data.byName;
    Object.assign(this, { group, who, outcomes: outcome.values, runs: 0, cost: 0, proved: 0, fastest: 0, alone: 0 });
    this.counts = new Int32Array(outcome.values.length);
    this.isVirtual = who === solver.values.length;
    this.solver = this.isVirtual ? VIRTUAL_BEST : solver.values[who];
  }

  add(data, row) {
    const { outcome, proof } = data.byName, code = outcome.codes[row];
    this.counts[code] += 1;
    this.runs += 1;
    this.cost += costOf(data, row);
    this.proved += outcome.values[code] === "verified" && proof.values[proof.codes[row]] === "checked";
  }

  count(name) { return this.counts[this.outcomes.indexOf(name)] || 0; }
  get solved() { return this.count("verified") + this.count("falsified"); }
  get par2() { return this.cost / this.runs; }

  join(other) {
    other.counts.forEach((count, code) => { this.counts[code] += count; });
    for (const name of ["runs", "cost", "proved", "fastest", "alone"]) this[name] += other[name];
  }
}

// The lines of a leaderboard, best first, the virtual best last in each group, and totals behind more than one group.
function leaderboard(data, counted, by) {
  const { solver } = data.byName, column = data.byName[by], profile = PROFILES[data.profile];
  const found = new Map();
  const line = (row, who) => {
    const key = column.codes[row] * (solver.values.length + 1) + who;
    if (!found.has(key)) found.set(key, new BoardLine(data, column.values[column.codes[row]], who));
    return found.get(key);
  };
  for (const row of counted) line(row, solver.codes[row]).add(data, row);
  for (const row of virtualBest(data, counted)) {
    line(row, solver.values.length).add(data, row);
    if (isSolved(data, row)) line(row, solver.codes[row]).fastest += 1;
  }
  for (const rows of grouped(counted.filter((row) => isSolved(data, row)), (row) => data.at[row]).values()) {
    if (rows.length === 1) line(rows[0], solver.codes[rows[0]]).alone += 1;
  }
  const merit = (a, b) => (profile.rising ? 1 : -1) * ascending(a.score, b.score) || ascending(a.par2, b.par2);
  const order = (a, b) => a.isVirtual - b.isVirtual || (data.unfinished ? 0 : merit(a, b)) || ascending(a.solver, b.solver);
  const groups = [...grouped(found.values(), (one) => one.group)].sort((a, b) => ascending(a[0], b[0])).map(([, lines]) => lines);
  for (const lines of groups) {
    profile.score(lines);
    lines.sort(order);
  }
  if (groups.length < 2) return groups.flat();
  const sums = [...grouped(groups.flat(), (one) => one.who)].map(([who, parts]) => {
    const sum = new BoardLine(data, TOTAL, who);
    for (const part of parts) sum.join(part);
    sum.score = profile.total(parts, groups.length, sum);
    return sum;
  });
  return [...groups.flat(), ...sums.sort(order)];
}

// Both ends of the Wilson score interval at 95 %.
function wilson(hits, of) {
  const z = 1.959963984540054, share = hits / of;
  const middle = (share + z ** 2 / (2 * of)) / (1 + z ** 2 / of);
  const reach = z / (1 + z ** 2 / of) * (share * (1 - share) / of + z ** 2 / (4 * of ** 2)) ** 0.5;
  return [middle - reach, middle + reach].map((end) => Math.min(1, Math.max(0, end)));
}

// `62% [45, 77]`
function shareText(hits, of) {
  const [low, high] = wilson(hits, of);
  return `${fixed(100 * (hits / of), 0)}% [${fixed(100 * low, 0)}, ${fixed(100 * high, 0)}]`;
}
