// The other views: one checkpoint, the steps of a family, trade-offs, and how the numbers came about.
"use strict";

(() => {
  const core = harness.core;
  const { el, word, elsewhere, go, unit, average, count, fixed, change, decimals } = core;

  const table = (heads, rows, attributes = {}) =>
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": attributes.label ?? heads[0] },
      el("table", { class: attributes.class ?? "lines" }, el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows)));

  const facts = (entries) => el("dl", { class: "facts" }, entries.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("bdi", {}, text)))));

  // --- one checkpoint

  const STRONGEST = 5;

  function checkpoint(now) {
    const { board } = core;
    const row = Math.max(0, core.byId(now.get("checkpoint"))), item = board.checkpoints[row];
    const columns = board.columns.filter((column) => column.cells[row]);
    const parent = item.parent === null ? null : el("p", {}, `${word(`relation_${item.relation}`)} `, core.linkTo(item.parent), " · ",
      el("a", { href: elsewhere({ compare: `${board.checkpoints[item.parent].id},${item.id}` }) }, word("compare_with")));
    return [
      el("h2", {}, core.nameOf(row), " ", el("span", { class: "about" }, [item.kind, item.quantization].filter(Boolean).join(" · "))),
      item.otherNames.length ? el("p", { class: "about" }, word("other_names", { names: item.otherNames.join(", ") })) : null,
      parent,
      facts(Object.entries(item.facts).map(([name, text]) => [word(`fact_${name}`), text])),
      item.training ? training(item.training) : null,
      subjects(row, columns),
      el("h3", {}, word("all_results")),
      table([word("head_score"), word("value"), word("head_interval"), "n", word("answers")], columns.map((column) => {
        const cell = column.cells[row];
        return el("tr", { class: column.headline ? "headline" : null }, el("th", { scope: "row" }, column.task, " ", el("span", { class: "about" }, `${unit(column)} ${average(column)}`)),
          el("td", { class: `number ${cell.best ? "best" : ""}` }, cell.text), el("td", { class: "interval" }, cell.interval ?? ""), el("td", { class: "number" }, count(cell.n)),
          el("td", {}, [cell.answers, ...(cell.apart ?? []).map((entry) => `${word("incomparable")}: ${entry.reason}`)].filter(Boolean).join("; ")));
      })),
      el("h3", {}, word("reports")),
      ...item.reports.map(report),
    ].filter(Boolean);
  }

  function training(facts_) {
    const { corpora, curve, evaluations, best, ...rest } = facts_;
    const shown = [["stage", `${rest.stage} (${rest.method})`], ["parent", rest.parent], ["steps", count(rest.steps)], ["tokens", count(rest.tokens)], ["loss", rest.loss === null ? "" : rest.loss.toPrecision(4)], ["seed", String(rest.seed)], ["recipe", rest.recipe.slice(0, 12)], ["best", best ? `${best.metric} ${best.value.toPrecision(4)}, ${word("at_step", { step: best.step })}` : ""]];
    return el("section", {}, el("h3", {}, word("training")), facts(shown.filter(([, text]) => text).map(([name, text]) => [word(`training_${name}`), text])),
      corpora.length ? table([word("corpus"), word("examples"), word("training_tokens"), word("epochs")], corpora.map((corpus) => el("tr", {}, el("th", { scope: "row" }, corpus.name), el("td", { class: "number" }, count(corpus.examples)), el("td", { class: "number" }, count(corpus.tokens)), el("td", { class: "number" }, corpus.epochs.toPrecision(3))))) : null,
      curves(facts_));
  }

  /** Return the strongest and weakest tasks: those furthest above and below the mean of all checkpoints. */
  function subjects(row, columns) {
    const tasks = columns.filter((column) => !column.average && column.primary && column.fraction && column.cells.filter((cell) => cell && !cell.apart).length > 1 && !column.cells[row].apart);
    if (tasks.length < 2 * STRONGEST) return null;
    const distance = (column) => {
      const cells = column.cells.filter((cell) => cell && !cell.apart);
      return (column.higher ? 1 : -1) * (column.cells[row].v - harness.stats.sum(cells.map((cell) => cell.v)) / cells.length);
    };
    const ranked = tasks.map((column) => [distance(column), column]).sort((a, b) => b[0] - a[0]);
    const part = (title, list) => el("div", {}, el("h4", {}, word(title)), el("ul", {}, list.map(([points, column]) => el("li", {}, `${column.task}: ${column.cells[row].text} (${change((column.higher ? 1 : -1) * points, column, 50)})`))));
    return el("section", {}, el("h3", {}, word("subjects")), el("p", { class: "about" }, word("subjects_about")), el("div", { class: "pair" }, part("strongest", ranked.slice(0, STRONGEST)), part("weakest", ranked.slice(-STRONGEST).reverse())));
  }

  function report(entry) {
    const protocol = Object.entries(entry.protocol).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
    const engine = entry.engine ? [["walk", entry.engine.walk], ["requests", count(entry.engine.requests)], ["remembered", count(entry.engine.answered_from_journal)], ["tokens_fed", count(entry.engine.tokens_fed)], ["tokens_generated", count(entry.engine.tokens_generated)], ["peak", entry.engine.peak]] : [];
    return el("details", {}, el("summary", {}, entry.created, " ", el("span", { class: "about" }, entry.tasks.join(", ") || word("replaced"))),
      facts([[word("fact_time"), entry.seconds], ...engine.map(([name, text]) => [word(`engine_${name}`), text]), ...protocol, ["harness", entry.harness], ...Object.entries(entry.environment)]),
      entry.notes.length ? el("ul", {}, entry.notes.map((note) => el("li", {}, note))) : null,
      Object.keys(entry.failed).length ? el("ul", { class: "warning" }, Object.entries(entry.failed).map(([name, reason]) => el("li", {}, `${name}: ${reason}`))) : null);
  }

  // --- curves of a training

  /** Return the training loss and each measurement of a training over its steps. */
  function curves({ curve, evaluations, best }) {
    const lines = [["loss", curve]];
    const names = new Set(evaluations.flatMap((entry) => Object.keys(entry).filter((name) => name !== "step")));
    for (const name of names) lines.push([name, evaluations.filter((entry) => entry[name] !== null && entry[name] !== undefined).map((entry) => [entry.step, entry[name]])]);
    const drawn = lines.filter(([, points]) => points.length > 1);
    return drawn.length ? el("div", { class: "curves" }, drawn.map(([name, points]) => el("figure", {}, el("figcaption", {}, name), lineChart(points, best?.step), el("p", { class: "about" }, word("from_to", { first: points[0][1].toPrecision(4), last: points.at(-1)[1].toPrecision(4), steps: count(points.at(-1)[0]) }))))) : null;
  }

  function lineChart(points, best) {
    const [width, height] = [320, 120], xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
    const [low, high] = [Math.min(...ys), Math.max(...ys)], [start, end] = [Math.min(0, ...xs), Math.max(...xs)];
    const x = (value) => (width * (value - start)) / (end - start || 1), y = (value) => height - 6 - ((height - 12) * (value - low)) / (high - low || 1);
    const path = points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}`).join("");
    return el("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": word("from_to", { first: ys[0].toPrecision(4), last: ys.at(-1).toPrecision(4), steps: count(end) }) },
      el("line", { class: "scale", x1: 0, x2: width, y1: height - 1, y2: height - 1 }), best ? el("line", { class: "zero", x1: x(best), x2: x(best), y1: 0, y2: height }) : null, el("path", { class: "curve", d: path }));
  }

  // --- the steps of the family

  const [BOX, GAP, RISE] = [150, 70, 62];

  function stages() {
    const { board } = core;
    const nodes = board.checkpoints.map((item, row) => ({ item, row, depth: depthOf(row) }));
    const withSteps = new Set(board.steps.flatMap((step) => [step.parent, step.child]));
    return [
      el("h2", {}, word("view_stages")),
      board.steps.length ? el("div", { class: "scroll" }, tree(nodes.filter((node) => withSteps.has(node.row)))) : el("p", {}, word("no_steps")),
      ...board.steps.map(stepElement),
      ticks(),
      ...board.checkpoints.flatMap((item, row) => (item.training?.curve.length > 1 ? [el("section", {}, el("h3", {}, core.linkTo(row), " ", el("span", { class: "about" }, word("curves"))), curves(item.training))] : [])),
    ].filter(Boolean);
  }

  function depthOf(row, seen = 0) {
    const { parent } = core.board.checkpoints[row];
    return parent === null || seen > 999 ? 0 : 1 + depthOf(parent, seen + 1);
  }

  function tree(nodes) {
    const lanes = new Map();
    const order = [...nodes].sort((a, b) => a.depth - b.depth || (laneOf(a) - laneOf(b)) || a.row - b.row);
    function laneOf(node) { return lanes.get(node.item.parent) ?? 0; }
    const used = new Map();
    for (const node of order) {
      const lane = Math.max(laneOf(node), used.get(node.depth) ?? 0);
      lanes.set(node.row, lane);
      used.set(node.depth, lane + 1);
    }
    const x = (node) => node.depth * (BOX + GAP), y = (node) => lanes.get(node.row) * RISE;
    const width = Math.max(...nodes.map(x)) + BOX + 2, height = Math.max(...nodes.map(y)) + 46;
    const byRow = new Map(nodes.map((node) => [node.row, node]));
    const edges = core.board.steps.map((step) => {
      const [from, to] = [byRow.get(step.parent), byRow.get(step.child)];
      const [x1, y1, x2, y2] = [x(from) + BOX, y(from) + 20, x(to), y(to) + 20];
      return el("path", { class: `edge ${step.verdict ?? ""}`, d: `M${x1},${y1}C${x1 + GAP / 2},${y1} ${x2 - GAP / 2},${y2} ${x2},${y2}` });
    });
    const boxes = nodes.map((node) => {
      const step = core.board.steps.find((entry) => entry.child === node.row);
      const tally = step ? tallyOf(step) : "";
      const label = node.item.label.length > 18 ? `${node.item.label.slice(0, 17)}…` : node.item.label;
      return el("g", { class: "node", transform: `translate(${x(node)},${y(node) + 1})` }, el("title", {}, `${node.item.label} ${tally}`), el("rect", { width: BOX, height: 40, rx: 4 }), el("text", { x: 8, y: 17 }, label), el("text", { x: 8, y: 33, class: "about" }, tally));
    });
    return el("svg", { class: "tree", width, height, viewBox: `-1 0 ${width} ${height}`, role: "img", "aria-label": word("tree_label", { count: nodes.length }) }, edges, boxes);
  }

  function tallyOf(step) {
    const number = (outcome) => step.changes.filter((entry) => entry.outcome === outcome).length;
    return `▲ ${number("better")}  ▼ ${number("worse")}  ≈ ${number("open")}`;
  }

  function stepElement(step) {
    const { board } = core, [parent, child] = [step.parent, step.child];
    const rows = step.changes.map((entry) => {
      const column = board.columns[entry.column], v = column.cells[parent].v;
      const sign = { better: 1, worse: -1, open: 0 }[entry.outcome];
      return el("tr", {}, el("th", { scope: "row" }, harness.compare.markElement(sign, entry.corrected, step.changes.length), " ", column.task),
        el("td", { class: "number" }, column.cells[parent].text), el("td", { class: "number" }, column.cells[child].text), el("td", { class: "number" }, entry.text, " ", el("span", { class: "interval" }, entry.low === null ? "" : `${change(entry.low, column, v)}${word("to")}${change(entry.high, column, v)}`)),
        el("td", { class: `verdict ${entry.verdict}` }, word(entry.verdict)), el("td", { class: "about" }, [entry.reason, ...entry.signs].join("; ")));
    });
    return el("details", { class: "step" }, el("summary", {}, core.nameOf(parent), " → ", core.nameOf(child), " ", el("span", { class: "about" }, word(`relation_${step.relation}`)), " ", step.verdict ? el("span", { class: `verdict ${step.verdict}` }, word(step.verdict)) : null, " ", el("span", { class: "about" }, tallyOf(step))),
      el("p", {}, el("a", { href: elsewhere({ compare: `${board.checkpoints[parent].id},${board.checkpoints[child].id}` }) }, word("compare_with"))),
      table([word("head_score"), board.checkpoints[parent].label, board.checkpoints[child].label, word("head_difference"), word("verdict"), word("reason")], rows),
      step.refused.length ? el("ul", { class: "remarks" }, step.refused.map((entry) => el("li", {}, `${board.columns[entry.column].task} ${word("incomparable")}: ${entry.reason}`))) : null);
  }

  /** Return which checkpoint learned from which corpus, its ancestors' corpora in brackets. */
  function ticks() {
    const { board } = core;
    const own = (row) => new Set([...(board.checkpoints[row].training?.corpora ?? []).map((corpus) => corpus.name), ...board.checkpoints[row].corpora]);
    const inherited = (row) => {
      const { parent } = board.checkpoints[row];
      return parent === null ? new Set() : new Set([...own(parent), ...inherited(parent)]);
    };
    const isCopy = (row) => board.checkpoints[row].relation === "quantised";
    const names = [...new Set(board.checkpoints.flatMap((_, row) => [...own(row)]))];
    if (!names.length) return null;
    return el("section", {}, el("h3", {}, word("corpora")), el("p", { class: "about" }, word("corpora_about")),
      table([word("checkpoint"), ...names], board.checkpoints.map((_, row) => el("tr", {}, el("th", { scope: "row" }, core.linkTo(row)), names.map((name) => el("td", { class: "tick" }, own(row).has(name) && !isCopy(row) ? "✓" : inherited(row).has(name) || own(row).has(name) ? "(✓)" : ""))))));
  }

  // --- trade-offs

  function tradeoffs(now) {
    const { board } = core;
    const costs = ["bytes", "peak", "parameters", "seconds", "speed", "tokens"].filter((key) => board.checkpoints.some((item) => item.cost[key] !== null));
    const columns = board.columns.map((column, i) => [i, column]).filter(([, column]) => column.headline);
    const cost = costs.includes(now.get("x")) ? now.get("x") : costs[0];
    const number = Number(now.get("y") ?? columns[0][0]), column = board.columns[number] ?? columns[0][1];
    const points = board.checkpoints.map((item, row) => ({ row, x: item.cost[cost], cell: column.cells[row] })).filter((point) => cost && point.x !== null && point.cell && !point.cell.apart);
    const content = points.length ? [scatter(points, column, cost), paretoText(points, column, cost)] : [el("p", {}, word("no_costs"))];
    return [el("h2", {}, word("view_tradeoffs")),
      el("form", { class: "tools", onsubmit: (e) => e.preventDefault() },
        core.select(word("score_axis"), columns.map(([i, entry]) => [i, `${entry.task} (${entry.metric})`]), number, (y) => go({ y })),
        core.select(word("cost_axis"), costs.map((key) => [key, word(`cost_${key}`)]), cost, (x) => go({ x }))),
      el("p", { class: "about" }, word("tradeoffs_about")), ...content];
  }

  /** Return the points that no other beats in both score and cost; speed is better when higher, other costs when lower. */
  function pareto(points, column, cost) {
    const cheaper = (a, b) => (cost === "speed" ? a.x - b.x : b.x - a.x), better = (a, b) => (column.higher ? a.cell.v - b.cell.v : b.cell.v - a.cell.v);
    return points.filter((point) => !points.some((other) => cheaper(other, point) >= 0 && better(other, point) >= 0 && (cheaper(other, point) > 0 || better(other, point) > 0)));
  }

  const writtenCost = (cost, value) => (cost === "bytes" || cost === "peak" ? core.bytes(value) : cost === "seconds" ? core.duration(value) : count(value));

  function paretoText(points, column, cost) {
    const front = pareto(points, column, cost).sort((a, b) => a.x - b.x);
    return table([word("pareto"), word(`cost_${cost}`), column.task, word("head_interval")], front.map((point) => el("tr", {}, el("th", { scope: "row" }, core.linkTo(point.row)), el("td", { class: "number" }, writtenCost(cost, point.x)), el("td", { class: "number" }, point.cell.text), el("td", { class: "interval" }, point.cell.interval ?? ""))));
  }

  function scatter(points, column, cost) {
    const [width, height, left, bottom] = [760, 400, 56, 40];
    const xs = points.map((point) => point.x), ends = points.flatMap(({ cell }) => [cell.low ?? cell.v, cell.high ?? cell.v]);
    const isLog = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 20, scale = isLog ? Math.log10 : (value) => value;
    const range = (values) => {
      const [low, high] = [Math.min(...values), Math.max(...values)], room = (high - low || Math.abs(high) || 1) * 0.1;
      return [low - room, high + room];
    };
    const [x0, x1] = range(xs.map(scale)), [y0, y1] = range(ends);
    const x = (value) => left + ((width - left - 40) * (scale(value) - x0)) / (x1 - x0), y = (value) => height - bottom - ((height - bottom - 12) * (value - y0)) / (y1 - y0);
    const front = pareto(points, column, cost).sort((a, b) => a.x - b.x);
    const ticks = [0, 0.25, 0.5, 0.75, 1], labelPlace = spaced();
    return el("svg", { class: "scatter", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": word("scatter_label", { score: column.task, cost: word(`cost_${cost}`) }) },
      ticks.map((share) => {
        const value = y0 + share * (y1 - y0), place = y(value);
        return [el("line", { class: "scale", x1: left, x2: width, y1: place, y2: place }), el("text", { class: "about", x: left - 6, y: place + 4, "text-anchor": "end" }, fixed(value, decimals(column, y1) > 2 ? 2 : 1))];
      }),
      ticks.map((share) => {
        const value = x0 + share * (x1 - x0), number = isLog ? 10 ** value : value;
        return el("text", { class: "about", x: left + share * (width - left - 40), y: height - bottom + 18, "text-anchor": "middle" }, writtenCost(cost, Math.max(0, number)));
      }),
      el("text", { class: "about", x: (width + left) / 2, y: height - 4, "text-anchor": "middle" }, word(`cost_${cost}`)),
      front.length > 1 ? el("path", { class: "front", d: front.map((point, i) => `${i ? "L" : "M"}${x(point.x)},${y(point.cell.v)}`).join("") }) : null,
      points.map(({ row, x: value, cell }) => el("g", { class: front.some((point) => point.row === row) ? "best" : "" }, el("title", {}, `${core.board.checkpoints[row].label}: ${cell.text} ${cell.interval ?? ""}, ${writtenCost(cost, value)}`),
        cell.low === undefined ? null : el("line", { class: "range", x1: x(value), x2: x(value), y1: y(cell.low), y2: y(cell.high) }), el("circle", { cx: x(value), cy: y(cell.v), r: 4 }), el("text", { x: x(value) + 7, y: labelPlace(x(value), y(cell.v) + 4) }, core.board.checkpoints[row].label.slice(0, 24)))));
  }

  /** Return a function that moves a label down until it covers no earlier one. */
  function spaced() {
    const taken = [];
    return (x, y) => {
      while (taken.some(([a, b]) => Math.abs(a - x) < 110 && Math.abs(b - y) < 12)) y += 4;
      taken.push([x, y]);
      return y;
    };
  }

  // --- how the numbers came about

  function method(now) {
    const { board } = core, target = now.get("method");
    const apart = board.columns.flatMap((column) => column.cells.flatMap((cell, row) => (cell?.apart ? cell.apart.map((entry) => [column, row, entry]) : [])));
    const versions = new Map();
    for (const item of board.checkpoints) for (const entry of item.reports) {
      const key = `harness ${entry.harness}, ${["torch", "transformers", "lm_eval"].filter((name) => entry.environment[name]).map((name) => `${name} ${entry.environment[name]}`).join(", ")}`;
      versions.set(key, [...(versions.get(key) ?? []), item.label]);
    }
    const headline = board.columns.filter((column) => column.headline || column.task === target);
    return [el("h2", {}, word("view_method")), el("p", {}, word("method_about")),
      el("h3", {}, word("incomparable_scores")),
      apart.length ? table([word("checkpoint"), word("head_score"), word("difference_kind"), word("reason")], apart.map(([column, row, entry]) => el("tr", { class: column.task === target ? "target" : null }, el("th", { scope: "row" }, core.linkTo(row)), el("td", {}, column.task), el("td", {}, el("span", { class: "badge" }, entry.label)), el("td", {}, entry.reason)))) : el("p", {}, word("all_comparable")),
      el("h3", {}, word("protocols")),
      table([word("head_score"), word("metric"), word("data"), word("version"), word("shots_head"), "n", word("prompts_hash")], headline.map((column) => el("tr", { class: column.task === target ? "target" : null }, el("th", { scope: "row" }, column.task, " ", el("span", { class: "about" }, average(column))), el("td", {}, unit(column), column.aggregation ? ` · ${column.aggregation}` : ""), el("td", {}, shortened(column.data)), el("td", {}, shortened(column.versions)), el("td", { class: "number" }, column.fewshot ?? "–"), el("td", { class: "number" }, count(column.n)), el("td", {}, el("code", {}, column.prompts.join(", ")))))),
      el("h3", {}, word("versions")),
      el("ul", {}, [...versions].map(([key, names]) => el("li", {}, `${key}: ${shortened([...new Set(names)])}`))),
      el("h3", {}, word("statistics")), el("ul", {}, ["interval", "test", "best", "marks", "average"].map((key) => el("li", {}, word(`statistics_${key}`))))];
  }

  const shortened = (list) => (list.length > 4 ? `${list.slice(0, 4).join(", ")}, … (${list.length})` : list.join(", "));

  Object.assign(core.views, { checkpoint, stages, tradeoffs, method });
})();
