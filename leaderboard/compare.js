// Any two checkpoints compared, document by document: the numbers of `harness compare`, computed here from one value per
// document, and the view that shows them. Mirrors harness/verdicts/compare.py, where the rules are explained.
//
// Not here: the tests themselves (stats.js).
"use strict";

harness.compare = (() => {
  const { load, unpack, el, word, elsewhere, go, change, fixed, decimals, probability, count, unit, average } = harness.core;
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
    const [units, ...answers] = await Promise.all([core.board.units, ...numbers.map((i) => core.board.answers[i])].map(load));
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
      Boolean((first.tainted && list(first.tainted)[row]) || (second.tainted && list(second.tainted)[places.rows[1][i]])));
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
      const seen = tasks.map((task) => where(task, (i) => task.tainted[i]));
      if (!isClean && hasScore(column, seen)) result.tainted = ofDocuments(column, seen);
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
    const once = (task) => task.documents.filter((i) => (task.values[0][i] === null) !== (task.values[1][i] === null)).length;
    const sizes = valued.map((task) => task.documents.length);
    const documents = sizes.reduce((total, size) => total + size, 0);
    const weights = sizes.map((size) => (column.average === "task" ? documents / sizes.length / size : 1));
    const clusters = numbered(valued.flatMap((task) => task.documents.map((i) => task.names[i])));
    const isMean = valued.every((task) => task.kind === "mean");
    const pair = isMean ? means(column, valued, clusters, weights) : corpora(column, valued, clusters, weights, documents);
    const inUnit = (value) => (column.higher ? value : column.fraction && isMean ? 1 - value : -value);
    const sign = column.higher ? 1 : -1, interval = pair.interval;
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
    const flat = (side) => tasks.flatMap((task, t) => task.documents.map((i) => {
      const value = Number(task.values[side][i]);
      return (column.higher ? value : column.fraction ? 1 - value : -value) * (column.average === "task" ? weights[t] : 1);
    }));
    const span = column.average === "task" ? Math.max(...weights) : null;
    return new harness.stats.Differences(flat(0), flat(1), clusters, span);
  }

  /** Put the statistics of several tasks side by side; their joint metric is the weighted mean of the tasks' metrics. */
  function corpora(column, tasks, clusters, weights, documents) {
    const block = (value) => (Array.isArray(value) ? value : [Number(value), 1]);
    const widths = tasks.map((task) => block(task.values[0][task.documents[0]] ?? 0).length);
    const starts = widths.map((_, t) => widths.slice(0, t).reduce((total, width) => total + width, 0));
    const width = starts.at(-1) + widths.at(-1);
    const side = (number) => tasks.flatMap((task, t) => task.documents.map((i) => {
      const row = new Array(width).fill(0);
      block(task.values[number][i]).forEach((value, k) => (row[starts[t] + k] = value));
      return row;
    }));
    const metrics = tasks.map((task) => harness.stats.METRICS[task.kind === "mean" ? "ratio" : task.kind]);
    const shares = tasks.map((task, t) => (weights[t] * task.documents.length) / documents);
    const joint = tasks.length === 1
      ? metrics[0]
      : (sums) => harness.stats.sum(metrics.map((metric, t) => shares[t] * metric(sums.slice(starts[t], starts[t] + widths[t]))));
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

  // --- the view

  /** Return the two checkpoints that are compared first: the last step of the family, or the first two. */
  function usual() {
    const step = core.board.steps.at(-1);
    const [a, b] = step ? [step.parent, step.child] : [0, Math.min(1, core.board.checkpoints.length - 1)];
    return `${core.board.checkpoints[a].id},${core.board.checkpoints[b].id}`;
  }

  async function view(now, isCurrent) {
    const { board } = core;
    const [a, b] = now.get("compare").split(",").map(core.byId).map((i) => Math.max(i, 0));
    const ids = (i, j) => `${board.checkpoints[i].id},${board.checkpoints[j].id}`;
    const showsAll = now.get("all") === "1";
    const columns = board.columns.filter((column) => column.cells[a] && (showsAll || (column.headline && column.primary)));
    const known = await data([a, b]);
    const body = el("tbody"), remarks = el("ul", { class: "remarks" });
    const results = [];
    const table = el("table", { class: "compare" },
      el("thead", {}, el("tr", {}, ["score", "baseline", "candidate", "forest", "difference", "p", "flips", "documents"].map((key) => el("th", { scope: "col" }, word(`head_${key}`))))),
      body);
    const page = [
      el("h2", {}, word("view_compare")),
      el("form", { class: "tools", onsubmit: (e) => e.preventDefault() },
        core.select(word("baseline"), core.checkpointOptions(), a, (i) => go({ compare: ids(i, b) })),
        el("button", { type: "button", onclick: () => go({ compare: ids(b, a) }) }, "⇄"),
        core.select(word("candidate"), core.checkpointOptions(), b, (i) => go({ compare: ids(a, i) })),
        el("label", { class: "choice" }, el("input", { type: "checkbox", checked: showsAll, onchange: (e) => go({ all: e.target.checked ? "1" : null }) }), word("all_scores")),
        core.copyButton("Markdown", () => markdown(results, a, b))),
      el("p", { class: "about" }, core.named(word("compare_about"))),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": word("view_compare") }, table),
      remarks,
    ];
    fill(known, columns, a, b, { body, remarks, results, isCurrent });
    return page;
  }

  /** Compare column by column, so that the page stays alive; marks come at the end, when all p-values are known. */
  async function fill(known, columns, a, b, { body, remarks, results, isCurrent }) {
    for (const column of columns) {
      const result = compare(known, column, a, b);
      results.push(result);
      if (result.reason) remarks.append(el("li", {}, el("b", {}, column.task), ` ${word("incomparable")}: ${result.reason}`));
      else body.append(line(result, a, b));
      if (result.leftOut) remarks.append(el("li", {}, `${column.task}: ${word("left_out", { count: count(result.leftOut) })}`));
      if (result.tainted) remarks.append(el("li", {}, `${column.task}: ${word("seen", { count: count(result.tainted.documents), difference: change(result.tainted.difference, column, result.tainted.baseline) })}`));
      await new Promise((resolve) => setTimeout(resolve));
      if (!isCurrent()) return;
    }
    const tested = results.filter((result) => !result.reason);
    const corrected = harness.stats.holm(tested.map((result) => result.p));
    tested.forEach((result, i) => {
      const mark = markOf(result, corrected[i]);
      body.rows[i].querySelector(".mark-place").replaceChildren(markElement(mark, corrected[i], tested.length));
    });
    body.dataset.done = "1";
  }

  /** Return whether a difference is real: 1 better, -1 worse, 0 open. */
  const markOf = (result, corrected) => (corrected > 0.05 ? 0 : Math.sign(result.pair.difference));

  function markElement(mark, p, scores) {
    const name = { 1: "better", "-1": "worse", 0: "open" }[mark];
    const title = word("mark_title", { p: probability(p), count: scores });
    return el("span", { class: `sign ${name}`, title }, { 1: "▲", "-1": "▼", 0: "≈" }[mark], el("span", { class: "hidden" }, word(name)));
  }

  function line(result, a, b) {
    const { column } = result, v = result.baseline, digits = decimals(column, v);
    const flips = (which, number) =>
      el("a", { class: which, href: elsewhere({ samples: `${column.members[0]}\t${column.filter}`, a: core.board.checkpoints[a].id, b: core.board.checkpoints[b].id, show: which }) }, `${word(which)} ${count(number)}`);
    return el("tr", {},
      el("th", { scope: "row" }, el("span", { class: "mark-place" }), " ", el("b", {}, column.task), " ", el("span", { class: "about" }, `${unit(column)} ${average(column)}`)),
      el("td", { class: "number" }, fixed(result.baseline, digits)),
      el("td", { class: "number" }, fixed(result.candidate, digits)),
      el("td", { class: "forest" }, forest(result)),
      el("td", { class: "number" }, change(result.difference, column, v), " ", el("span", { class: "interval" }, result.interval ? result.interval.map((end) => change(end, column, v)).join(word("to")) : "")),
      el("td", { class: "number", title: `${word("needed")}: ${Number.isFinite(result.needed) ? count(Math.ceil(result.needed)) : "–"}` }, probability(result.p)),
      el("td", {}, column.average ? [`${count(result.lost)} / ${count(result.gained)}`] : [flips("lost", result.lost), " ", flips("gained", result.gained)]),
      el("td", { class: "number" }, count(result.documents), result.clusters === null ? null : el("span", { class: "about" }, ` ${word("in_clusters", { count: count(result.clusters) })}`)));
  }

  /** Return the interval of a difference on a scale around 0, better to the right. */
  function forest({ column, difference, interval }) {
    const better = column.higher ? 1 : -1, ends = interval ?? [difference, difference];
    const reach = column.fraction ? 50 : Math.max(Math.abs(ends[0]), Math.abs(ends[1]), 1e-9) * 1.25;
    const x = (value) => `${50 + 50 * Math.max(-1, Math.min(1, (better * value) / reach))}%`;
    const kind = interval && Math.sign(ends[0]) === Math.sign(ends[1]) && ends[0] ? (better * ends[0] > 0 ? "better" : "worse") : "";
    return el("svg", { class: `whisker ${kind}`, "aria-hidden": "true" },
      el("line", { class: "scale", x1: "0", x2: "100%", y1: 7, y2: 7 }), el("line", { class: "zero", x1: "50%", x2: "50%", y1: 0, y2: 14 }),
      el("line", { class: "range", x1: x(ends[0]), x2: x(ends[1]), y1: 7, y2: 7 }), el("line", { class: "point", x1: x(difference), x2: x(difference), y1: 2, y2: 12 }));
  }

  function markdown(results, a, b) {
    const { board } = core, cell = (text) => String(text).replaceAll("|", "\\|").replaceAll("\n", " ");
    const lines = [`${board.checkpoints[b].label} against ${board.checkpoints[a].label}`, "", "| task | metric | baseline | candidate | difference | 95 % interval | p | lost / gained | documents |", "|---|---|--:|--:|--:|--:|--:|--:|--:|"];
    for (const result of results.filter((entry) => !entry.reason)) {
      const { column } = result, v = result.baseline, digits = decimals(column, v);
      lines.push(`| ${[column.task, unit(column), fixed(result.baseline, digits), fixed(result.candidate, digits), change(result.difference, column, v), result.interval ? result.interval.map((end) => change(end, column, v)).join(" to ") : "–", probability(result.p), `${result.lost} / ${result.gained}`, result.documents].map(cell).join(" | ")} |`);
    }
    return lines.join("\n") + "\n";
  }

  harness.core.views.compare = view;
  return { data, compare, list, matched, usual, markOf, markElement };
})();
