// Any two checkpoints compared, document by document: the numbers of `harness compare`, computed here from one value per
// document. Mirrors harness/verdicts/compare.py, where the rules are explained.
//
// Not here: the tests themselves (stats.js), and the view (compared.js).
"use strict";

harness.compare = (() => {
  const { load, unpack, word } = harness.core;
  const core = harness.core;
  const unpacked = new WeakMap();

  function list(packed) {
    if (!unpacked.has(packed)) unpacked.set(packed, Array.isArray(packed) ? rows(packed) : unpack(packed));
    return unpacked.get(packed);
  }

  /** Return rows of statistics from columns; null for a document without a value. */
  function rows(columns) {
    const lists = columns.map(unpack);
    return lists[0].map((_, i) => (lists[0][i] === null ? null : lists.map((values) => values[i])));
  }

  class Refusal extends Error {}

  /** Load what comparing the checkpoints with these numbers needs. */
  async function data(numbers) {
    const [units, ...answers] = await Promise.all(
      [core.board.units, ...numbers.map((i) => core.board.answers[i])].map(load),
    );
    return { units, answers: new Map(numbers.map((number, i) => [number, answers[i]])) };
  }

  /** Return the documents of one task that both answered: values, flags and clusters, in the order of the baseline. */
  function pairsOf({ units, answers }, column, task, a, b) {
    const name = `${task}\t${column.filter}`;
    const [first, second] = [a, b].map((i) => answers.get(i)[name]);
    if (!first || !second) throw new Refusal(word("no_samples"));
    const kind = units[name].metrics[column.metric];
    if (!kind) throw new Refusal(word("no_test", { metric: column.metric }));
    const missing = [first, second].find((side) => !(column.metric in side.metrics));
    const classes = units[name].classes;
    const places = matched(units[name], first.class, second.class);
    const values = [first, second].map((side, i) => {
      const all = missing === side ? places.rows[i].map(() => null) : list(side.metrics[column.metric]);
      return places.rows[i].map((row) => all[row] ?? null);
    });
    const tainted = places.rows[0].map((row, i) =>
      Boolean(
        (first.tainted && list(first.tainted)[row]) || (second.tainted && list(second.tainted)[places.rows[1][i]]),
      ),
    );
    const side = classes[first.class].clusters ? 0 : 1;
    const clusters = classes[[first, second][side].class].clusters;
    const names = places.rows[side].map((row) => (clusters ? list(clusters)[row] : null));
    const documents = places.rows[0].map((_, i) => i);
    return { task, kind, values, tainted, names, documents, leftOut: places.leftOut, rows: places.rows };
  }

  /** Return which rows of two classes are the same documents. */
  function matched(unit, first, second) {
    if (first === second) {
      const same = Array.from({ length: unit.classes[first].n }, (_, i) => i);
      return { rows: [same, same], leftOut: 0 };
    }
    const common = unit.pairs[`${Math.min(first, second)},${Math.max(first, second)}`];
    if (common.reason) throw new Refusal(common.reason);
    const sides = common.rows.map(list);
    return { rows: first < second ? sides : sides.toReversed(), leftOut: common.left_out };
  }

  const where = (task, keep) => ({ ...task, documents: task.documents.filter(keep) });

  function hasScore(column, tasks) {
    const sizes = tasks.map((task) => task.documents.length);
    return column.average === "task" ? sizes.every(Boolean) : sizes.some(Boolean);
  }

  /** Return the comparison of a score of checkpoint `b` with that of `a`; { reason } if there is none. */
  function compare(known, column, a, b) {
    try {
      if (!column.cells[b]) throw new Refusal(word("not_evaluated"));
      for (const i of [a, b]) if (column.refused[i]) throw new Refusal(column.refused[i]);
      const tasks = column.members.map((task) => pairsOf(known, column, task, a, b));
      const clean = tasks.map((task) => where(task, (i) => !task.tainted[i]));
      const isClean = clean.every((task, i) => task.documents.length === tasks[i].documents.length);
      if (!isClean && !hasScore(column, clean)) throw new Refusal(word("all_tainted"));
      const result = ofDocuments(column, clean);
      const tainted = tasks.map((task) => where(task, (i) => task.tainted[i]));
      if (!isClean && hasScore(column, tainted)) result.tainted = ofDocuments(column, tainted);
      return result;
    } catch (error) {
      if (error instanceof Refusal) return { column, reason: error.message };
      throw error;
    }
  }

  function ofDocuments(column, tasks) {
    const inBoth = (task) => (i) => task.values.every((side) => side[i] !== null);
    const valued = tasks.map((task) => where(task, inBoth(task)));
    if (!hasScore(column, valued)) throw new Refusal(word("no_value"));
    const once = (task) =>
      task.documents.filter((i) => (task.values[0][i] === null) !== (task.values[1][i] === null)).length;
    const sizes = valued.map((task) => task.documents.length);
    const documents = sizes.reduce((total, size) => total + size, 0);
    const weights = sizes.map((size) => (column.average === "task" ? documents / sizes.length / size : 1));
    const clusters = numbered(valued.flatMap((task) => task.documents.map((i) => task.names[i])));
    const isMean = valued.every((task) => task.kind === "mean");
    const pair = isMean
      ? means(column, valued, clusters, weights)
      : corpora(column, valued, clusters, weights, documents);
    const inUnit = (value) => (column.higher ? value : column.fraction && isMean ? 1 - value : -value);
    const sign = column.higher ? 1 : -1,
      interval = pair.interval;
    const scale = column.fraction ? 100 : 1;
    return {
      column,
      pair,
      baseline: scale * inUnit(pair.scores[0]),
      candidate: scale * inUnit(pair.scores[1]),
      difference: scale * sign * pair.difference,
      interval: interval && (column.higher ? interval : [-interval[1], -interval[0]]).map((end) => scale * end),
      p: pair.p,
      needed: pair.needed,
      documents,
      leftOut: tasks.reduce((total, task) => total + task.leftOut + once(task), 0),
      lost: pair.lost,
      gained: pair.gained,
      clusters: clusters === null ? null : pair.units,
    };
  }

  function means(column, tasks, clusters, weights) {
    const flat = (side) =>
      tasks.flatMap((task, t) =>
        task.documents.map((i) => {
          const value = Number(task.values[side][i]);
          return (
            (column.higher ? value : column.fraction ? 1 - value : -value) *
            (column.average === "task" ? weights[t] : 1)
          );
        }),
      );
    const span = column.average === "task" ? Math.max(...weights) : null;
    return new harness.stats.Differences(flat(0), flat(1), clusters, span);
  }

  /** Put the statistics of several tasks side by side; their joint metric is the weighted mean of the tasks' metrics. */
  function corpora(column, tasks, clusters, weights, documents) {
    const block = (value) => (Array.isArray(value) ? value : [Number(value), 1]);
    const widths = tasks.map((task) => block(task.values[0][task.documents[0]] ?? 0).length);
    const starts = widths.map((_, t) => widths.slice(0, t).reduce((total, width) => total + width, 0));
    const width = starts.at(-1) + widths.at(-1);
    const side = (number) =>
      tasks.flatMap((task, t) =>
        task.documents.map((i) => {
          const row = new Array(width).fill(0);
          block(task.values[number][i]).forEach((value, k) => (row[starts[t] + k] = value));
          return row;
        }),
      );
    const metrics = tasks.map((task) => harness.stats.METRICS[task.kind === "mean" ? "ratio" : task.kind]);
    const shares = tasks.map((task, t) => (weights[t] * task.documents.length) / documents);
    const joint =
      tasks.length === 1
        ? metrics[0]
        : (sums) =>
            harness.stats.sum(
              metrics.map((metric, t) => shares[t] * metric(sums.slice(starts[t], starts[t] + widths[t]))),
            );
    return new harness.stats.Corpora(side(0), side(1), column.higher ? joint : (sums) => -joint(sums), clusters);
  }

  /** Return cluster numbers from names, those without a name last; null if every document is its own cluster. */
  function numbered(names) {
    const known = new Map();
    for (const name of names) if (name !== null && !known.has(name)) known.set(name, known.size);
    let alone = known.size;
    const numbers = names.map((name) => (name === null ? alone++ : known.get(name)));
    return alone === names.length ? null : numbers;
  }

  return { data, compare, list, matched };
})();
