// The overview: what the steps changed, in sentences, and the table of checkpoints and families of scores.
//
// A family unfolds to its scores, an average to its tasks as a heat map. Marks say how a score differs from the
// checkpoint's parent, or from a baseline that the reader chooses; both are the paired test of compare.js.
"use strict";

harness.overview = (() => {
  const core = harness.core;
  const { el, word, named, go, adjust, elsewhere, address, unit, average, fixed, decimals, count } = core;
  const FAMILIAR = 0.5; // the share of a family's scores with which a checkpoint has a say in the common subset

  // --- columns

  /** Return what the table shows as columns: families, and below unfolded ones their scores and tasks. */
  function layout(open) {
    const { board } = core;
    return board.families.flatMap((family) => {
      const scores = family.columns.map((number) => ({ kind: "score", number, column: board.columns[number], family }));
      const folded = family.columns.length > 1 ? [{ kind: "family", family, common: commonSubset(family) }] : [];
      if (!open.has(family.name)) return folded.length ? folded : scores.slice(0, 1);
      return [...folded, ...scores.flatMap((score) => [score, ...tasksOf(score)])];
    });
  }

  /** Return the tasks of an average as columns of a heat map. */
  function tasksOf({ number, column, family }) {
    if (!column.average) return [];
    const members = new Set(column.members);
    return core.board.columns.flatMap((other, i) =>
      i !== number && !other.average && members.has(other.task) && other.metric === column.metric && other.filter === column.filter
        ? [{ kind: "task", number: i, column: other, family }] : []);
  }

  const canUnfold = (family) => {
    const [number] = family.columns;
    return family.columns.length > 1 || tasksOf({ number, column: core.board.columns[number], family }).length > 0;
  };

  /** Return the scores over which a family is averaged: in percent, and had by all checkpoints that have half of them. */
  function commonSubset(family) {
    const { columns } = core.board;
    const usable = family.columns.filter((number) => columns[number].fraction && columns[number].higher && columns[number].primary);
    const has = (number, row) => comparable(columns[number].cells[row]);
    const coverage = (row) => usable.filter((number) => has(number, row)).length;
    const rows = [...core.board.checkpoints.keys()].filter((row) => coverage(row) && coverage(row) >= FAMILIAR * usable.length);
    return usable.filter((number) => rows.every((row) => has(number, row)));
  }

  const comparable = (cell) => Boolean(cell) && !cell.apart;

  /** Return a family's average over its common subset; without a value if the checkpoint lacks one of its scores. */
  function familyCell({ common }, row) {
    const cells = common.map((number) => core.board.columns[number].cells[row]).filter(comparable);
    if (!cells.length) return null;
    const coverage = `${cells.length}/${common.length}`;
    if (cells.length < common.length) return { coverage };
    const v = harness.stats.sum(cells.map((cell) => cell.v)) / cells.length;
    const halves = cells.map((cell) => (cell.high === undefined ? null : (cell.high - cell.low) / 2));
    const half = halves.includes(null) ? null : Math.sqrt(harness.stats.sum(halves.map((h) => h * h))) / cells.length;
    return { v, text: fixed(v, 1), coverage, interval: half === null ? "" : `${fixed(v - half, 1)}–${fixed(v + half, 1)}` };
  }

  const cellOf = (item, row) => (item.kind === "family" ? familyCell(item, row) : item.column.cells[row]);

  // --- marks

  /** Return for each checkpoint and column how it differs from its parent: the steps of the family. */
  function marksOfSteps() {
    const marks = new Map();
    for (const step of core.board.steps) {
      for (const change of step.changes) {
        const sign = { better: 1, worse: -1, open: 0 }[change.outcome];
        marks.set(`${step.child},${change.column}`, harness.compare.markElement(sign, change.corrected, step.changes.length));
      }
    }
    return marks;
  }

  /** Put the marks of all rows against the chosen baseline into their cells, row by row. */
  async function markAgainst(baseline, body, isCurrent) {
    const { board } = core;
    const columns = board.columns.filter((column) => column.headline && column.primary && column.cells[baseline]);
    const known = await harness.compare.data(board.checkpoints.map((_, i) => i));
    for (const row of board.checkpoints.keys()) {
      if (row === baseline) continue;
      const results = columns.map((column) => harness.compare.compare(known, column, baseline, row)).filter((result) => !result.reason);
      const corrected = harness.stats.holm(results.map((result) => result.p));
      await new Promise((resolve) => setTimeout(resolve));
      if (!isCurrent()) return;
      results.forEach((result, i) => {
        const place = body.querySelector(`[data-cell="${row},${board.columns.indexOf(result.column)}"] .mark-place`);
        place?.replaceChildren(harness.compare.markElement(harness.compare.markOf(result, corrected[i]), corrected[i], results.length));
      });
    }
    body.dataset.marked = "1";
  }

  // --- rows

  function rowsFor(now, items) {
    const { board } = core;
    const text = (now.get("find") ?? "").toLowerCase();
    let rows = [...board.checkpoints.keys()].filter((row) => {
      const { label, kind, quantization } = board.checkpoints[row];
      return [label, kind, quantization ?? ""].some((part) => part.toLowerCase().includes(text));
    });
    if (now.get("complete") === "1") rows = rows.filter((row) => items.every((item) => cellOf(item, row)?.v !== undefined && comparable(cellOf(item, row))));
    const [key, direction] = (now.get("sort") ?? "").split(" ");
    const item = items.find((entry) => keyOf(entry) === key);
    const sign = direction === "back" ? -1 : 1;
    if (key === "name") rows.sort((a, b) => sign * board.checkpoints[a].label.localeCompare(board.checkpoints[b].label, undefined, { numeric: true }));
    if (COSTS[key]) rows.sort(by((row) => board.checkpoints[row].cost[key], sign));
    if (item) rows.sort(by((row) => cellOf(item, row)?.v, higherFirst(item) ? -sign : sign));
    return rows;
  }

  /** Return an order of rows by a value; rows without one come last in either direction. */
  const by = (value, sign = 1) => (a, b) => {
    const [x, y] = [value(a), value(b)].map((number) => number ?? null);
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };

  const higherFirst = (item) => item.kind === "family" || item.column.higher;
  const keyOf = (item) => (item.kind === "family" ? `f:${item.family.name}` : `c:${item.number}`);

  const COSTS = { tokens: count, seconds: core.duration, speed: (value) => fixed(value, 0), peak: core.bytes, bytes: core.bytes };

  /** Return the costs that any checkpoint has. */
  const knownCosts = () => Object.entries(COSTS).filter(([key]) => core.board.checkpoints.some((checkpoint) => checkpoint.cost[key] !== null));

  // --- the table

  function head(item, now, open) {
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    const key = keyOf(item), isSorted = sorted === key;
    const order = isSorted ? (higherFirst(item) !== (direction === "back") ? "descending" : "ascending") : null;
    const title = item.kind === "family" ? item.family.name : item.column.task;
    const sort = el("button", { type: "button", class: "sort", onclick: () => go({ sort: isSorted && direction !== "back" ? `${key} back` : key }) }, el("b", {}, breakable(title)));
    const isFirst = item.kind === "family" || (item.kind === "score" && item.number === item.family.columns[0] && item.family.columns.length === 1);
    const unfold = isFirst && canUnfold(item.family) ? el("button", { type: "button", class: "unfold", "aria-expanded": String(open.has(item.family.name)), title: word("unfold"), onclick: () => toggle(now, open, item.family.name) }, open.has(item.family.name) ? "−" : "+") : null;
    return el("th", { scope: "col", class: item.kind, "aria-sort": order }, sort, unfold, about(item).map((text) => el("span", { class: "about" }, text)));
  }

  /** Return the lines below a column's name. */
  function about(item) {
    if (item.kind === "family") return [word("mean_family", { count: item.common.length, of: item.family.columns.length })];
    const { column } = item, bounds = [["chance", column.chance], ["ceiling", column.ceiling]].filter(([, value]) => value !== null);
    const size = [column.fewshot === null ? "" : word("shots", { count: column.fewshot }), `n = ${count(column.n)}`].filter(Boolean).join(", ");
    if (item.kind === "task") return [`n = ${count(column.n)}`];
    return [unit(column), average(column), size, bounds.map(([name, value]) => `${word(name)} ${Number(value.toFixed(2))}`).join(", ")].filter(Boolean);
  }

  /** Return a name that may break after each underscore. */
  const breakable = (name) => el("bdi", {}, name.split("_").flatMap((part, i) => (i ? ["_", el("wbr"), part] : [part])));

  function toggle(now, open, name) {
    const next = new Set(open);
    if (!next.delete(name)) next.add(name);
    go({ open: [...next].join(",") });
  }

  function cellElement(item, row, marks, range) {
    const cell = cellOf(item, row);
    const attributes = { "data-cell": item.kind === "family" ? null : `${row},${item.number}`, class: item.kind };
    if (!cell) return el("td", { ...attributes, class: "missing", title: word("not_evaluated") }, "–");
    if (item.kind === "family") return el("td", attributes, cell.text ? [el("span", { class: "value" }, cell.text), " ", el("span", { class: "interval" }, cell.interval)] : "–", el("span", { class: "about" }, ` ${word("coverage", { coverage: cell.coverage })}`));
    const state = cell.apart ? "apart" : cell.best ? "best" : "";
    const value = el("span", { class: "value" }, cell.text);
    const td = el("td", { ...attributes, class: `${item.kind} ${state}`, title: tooltip(item.column, cell) },
      value, " ", el("span", { class: "mark-place" }, marks.get(`${row},${item.number}`) ?? null));
    if (item.kind === "task") {
      heat(td, (cell.v - range[0]) / (range[1] - range[0] || 1), item.column.higher);
      return td;
    }
    td.append(el("span", { class: "interval" }, cell.interval ?? ""), whisker(item.column, cell, range), ...badges(item.column, cell, row));
    return td;
  }

  /** Colour a cell of a heat map; the colour repeats what the number says, in one hue of growing strength. */
  function heat(td, share, higher) {
    td.style.setProperty("--heat", `${Math.round(70 * Math.max(0, Math.min(1, higher ? share : 1 - share)))}%`);
  }

  /** Return the limit on documents of all headline scores of a checkpoint, if it is one for all. */
  function limitOf(row) {
    const cells = core.board.columns.filter((column) => column.headline).map((column) => column.cells[row]).filter(Boolean);
    const limits = new Set(cells.map((cell) => cell.limited ?? ""));
    return limits.size === 1 ? [...limits][0] : "";
  }

  function badges(column, cell, row) {
    const list = [];
    for (const { label, reason } of cell.apart ?? []) list.push(el("a", { class: "badge", href: elsewhere({ method: column.task }), title: reason }, label));
    if (cell.standing) list.push(el("span", { class: "standing" }, word(cell.standing)));
    if (cell.doubtful) list.push(el("span", { class: "badge", title: cell.answers }, word("doubtful")));
    if (cell.unread) list.push(el("a", { class: "fact", href: elsewhere({ samples: `${column.members[0]}\t${column.filter}`, a: core.board.checkpoints[row].id, show: "unread" }) }, word("unread", { count: count(cell.unread) })));
    if (cell.cut) list.push(el("span", { class: "fact" }, word("cut", { count: count(cell.cut) })));
    if (cell.limited && !limitOf(row)) list.push(el("span", { class: "badge" }, `limit ${cell.limited}, n = ${count(cell.n)}`));
    return list;
  }

  function tooltip(column, cell) {
    const parts = [`n = ${count(cell.n)}`, cell.standing && word(cell.standing), cell.answers, cell.best && word("best_title"), ...(cell.apart ?? []).map(({ label, reason }) => `${word("incomparable")}, ${label}: ${reason}`)];
    return parts.filter(Boolean).join("; ");
  }

  function whisker(column, cell, [low, high]) {
    const x = (value) => `${(100 * Math.max(0, Math.min(1, (value - low) / (high - low || 1)))).toFixed(1)}%`;
    const mark = (kind, value) => (value === null || value === undefined ? null : el("line", { class: kind, x1: x(value), x2: x(value), y1: 0, y2: 10 }));
    return el("svg", { class: "whisker", "aria-hidden": "true" },
      el("line", { class: "scale", x1: 0, x2: "100%", y1: 5, y2: 5 }), mark("chance", column.chance), mark("ceiling", column.ceiling),
      cell.low === undefined ? null : el("line", { class: "range", x1: x(cell.low), x2: x(cell.high), y1: 5, y2: 5 }), mark("point", cell.v));
  }

  /** Return the ends of a column's scale: 0 to 100 for percent, else 0 to its largest number; a heat map's own range. */
  function rangeOf(item) {
    const cells = item.column.cells.filter(Boolean);
    if (item.kind === "task") return [Math.min(...cells.map((cell) => cell.v)), Math.max(...cells.map((cell) => cell.v))];
    if (item.column.fraction) return [0, 100];
    const ends = cells.flatMap((cell) => [cell.low ?? cell.v, cell.high ?? cell.v]);
    return [Math.min(0, ...ends), Math.max(0, ...ends)];
  }

  function rowHead(row) {
    const checkpoint = core.board.checkpoints[row], facts = checkpoint.facts;
    const parts = [checkpoint.kind, checkpoint.quantization, facts.parameters, facts.dtype].filter(Boolean).join(" · ");
    const parent = checkpoint.parent === null ? null : el("span", { class: "about" }, `← ${core.board.checkpoints[checkpoint.parent].label}`);
    const limit = limitOf(row) ? el("span", { class: "badge" }, `limit ${limitOf(row)}`) : null;
    return el("th", { scope: "row" }, core.linkTo(row), el("span", { class: "about" }, parts), parent, limit);
  }

  function costCells(row) {
    const { cost } = core.board.checkpoints[row];
    return knownCosts().map(([key, written]) => el("td", { class: "number cost" }, cost[key] === null ? "–" : written(cost[key])));
  }

  function costHeads(now) {
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    return knownCosts().map(([key]) => el("th", { scope: "col", class: "cost", "aria-sort": sorted === key ? (direction === "back" ? "descending" : "ascending") : null },
      el("button", { type: "button", class: "sort", onclick: () => go({ sort: sorted === key && direction !== "back" ? `${key} back` : key }) }, el("b", {}, word(`cost_${key}`)))));
  }

  function tableElement(items, rows, now, open, marks) {
    const ranges = new Map(items.filter((item) => item.column).map((item) => [item, rangeOf(item)]));
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    const corner = el("th", { scope: "col", "aria-sort": sorted === "name" ? (direction === "back" ? "descending" : "ascending") : null },
      el("button", { type: "button", class: "sort", onclick: () => go({ sort: sorted === "name" && direction !== "back" ? "name back" : "name" }) }, el("b", {}, word("checkpoint"))));
    const body = el("tbody", {}, rows.map((row) => el("tr", {}, rowHead(row), items.map((item) => cellElement(item, row, marks, ranges.get(item))), now.get("cost") === "0" ? [] : costCells(row))));
    return el("table", { class: "board" },
      el("caption", { class: "hidden" }, word("table_caption")),
      el("thead", {}, el("tr", {}, corner, items.map((item) => head(item, now, open)), now.get("cost") === "0" ? [] : costHeads(now))), body);
  }

  /** Return the table turned by a quarter for a narrow screen: a card for each checkpoint. */
  function cards(items, rows, marks) {
    return el("div", { class: "cards" }, rows.map((row) => el("article", { class: "card" }, el("h3", {}, core.linkTo(row)),
      el("dl", {}, items.map((item) => {
        const cell = cellOf(item, row);
        return el("div", { class: cell?.best ? "best" : null, "data-cell": item.kind === "family" ? null : `${row},${item.number}` }, el("dt", {}, breakable(item.kind === "family" ? item.family.name : item.column.task)),
          el("dd", {}, cell?.text ?? "–", " ", el("span", { class: "mark-place" }, marks.get(`${row},${item.number}`)?.cloneNode(true) ?? null), " ", el("span", { class: "interval" }, cell?.interval ?? ""), item.kind === "score" && cell ? badges(item.column, cell, row) : null));
      })))));
  }

  // --- copies

  const plainHead = (item) => (item.kind === "family" ? item.family.name : `${item.column.task} (${item.column.metric})`);

  function grid(items, rows) {
    const texts = (item, row) => {
      const cell = cellOf(item, row);
      return cell?.text ? `${cell.text}${cell.interval ? ` [${cell.interval}]` : ""}${cell.apart ? " †" : ""}` : "";
    };
    return [[word("checkpoint"), ...items.map(plainHead)], ...rows.map((row) => [core.board.checkpoints[row].label, ...items.map((item) => texts(item, row))])];
  }

  function markdown(items, rows) {
    const cell = (text) => text.replace(/([\\|`*_<>[\]])/g, "\\$1").replaceAll("\n", " ");
    const [top, ...rest] = grid(items, rows).map((line) => `| ${line.map(cell).join(" | ")} |`);
    return [top, `|${"---|".repeat(items.length + 1)}`, ...rest].join("\n") + "\n";
  }

  /** Return comma-separated values; a text that a spreadsheet would take for a formula gets an apostrophe in front. */
  function csv(items, rows) {
    const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
    return grid(items, rows).map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  function latex(items, rows) {
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
    const cell = (text) => text.replace(/[\\~^]|[&%$#_{}]/g, (mark) => special[mark] ?? `\\${mark}`).replaceAll("–", "--").replaceAll("−", "$-$");
    const lines = grid(items, rows).map((line) => `${line.map(cell).join(" & ")} \\\\`);
    return `\\begin{tabular}{l${"r".repeat(items.length)}}\n\\hline\n${lines[0]}\n\\hline\n${lines.slice(1).join("\n")}\n\\hline\n\\end{tabular}\n`;
  }

  // --- the view

  function tools(now, items, rows, open) {
    const { board } = core;
    const check = (key, label) => el("label", { class: "choice" }, el("input", { type: "checkbox", checked: now.get(key) === "1", onchange: (e) => go({ [key]: e.target.checked ? "1" : null }) }), label);
    const baselines = [["", word("own_parent")], ...core.checkpointOptions()];
    const chosen = core.byId(now.get("base") ?? "");
    const folding = board.families.some(canUnfold) ? el("button", { type: "button", onclick: () => go({ open: open.size ? null : board.families.filter(canUnfold).map((family) => family.name).join(",") }) }, word(open.size ? "fold_all" : "unfold_all")) : null;
    return el("form", { class: "tools", onsubmit: (e) => e.preventDefault() },
      el("label", { class: "choice" }, el("span", {}, word("find")), el("input", { type: "search", value: now.get("find") ?? "", oninput: (e) => keepFocus(e.target, () => adjust({ find: e.target.value })) })),
      core.select(word("marks_against"), baselines, chosen < 0 ? "" : chosen, (i) => go({ base: i === "" ? null : board.checkpoints[i].id })),
      check("complete", word("complete_only")), check("dense", word("dense")), folding,
      core.copyButton("Markdown", () => markdown(items, rows)), core.copyButton("CSV", () => csv(items, rows)), core.copyButton("LaTeX", () => latex(items, rows)));
  }

  /** Redraw while a reader types, and put the cursor back where it was. */
  async function keepFocus(input, change) {
    const place = input.selectionStart;
    await change();
    const next = document.querySelector("input[type=search]");
    next?.focus();
    next?.setSelectionRange(place, place);
  }

  const NARROW = matchMedia("(max-width: 40rem)");
  NARROW.addEventListener("change", () => core.board && core.draw());

  async function view(now, isCurrent) {
    const { board } = core;
    const open = new Set((now.get("open") ?? "").split(",").filter(Boolean));
    const items = layout(open), rows = rowsFor(now, items);
    const baseline = core.byId(now.get("base") ?? "");
    const marks = baseline < 0 ? marksOfSteps() : new Map();
    const sentences = board.sentences.map((sentence) => el("li", {}, named(sentence[core.language])));
    const content = NARROW.matches ? cards(items, rows, marks) : el("div", { class: `scroll ${now.get("dense") === "1" ? "dense" : ""}`, tabindex: "0", role: "region", "aria-label": word("table_caption") }, tableElement(items, rows, now, open, marks));
    if (baseline >= 0) markAgainst(baseline, content, isCurrent);
    return [
      sentences.length ? el("section", { class: "sentences", "aria-label": word("changes") }, el("ul", {}, sentences.slice(0, 6)), sentences.length > 6 ? el("details", {}, el("summary", {}, word("more_sentences", { count: sentences.length - 6 })), el("ul", {}, sentences.slice(6))) : null) : null,
      tools(now, items, rows, open),
      content,
      el("div", { class: "legend" }, ["legend_best", "legend_marks", "legend_apart", board.columns.some((column) => column.chance !== null) ? "legend_chance" : null].filter(Boolean).map((key) => el("p", {}, word(key)))),
    ].filter(Boolean);
  }

  core.views.overview = view;
  return { layout, csv, latex, markdown };
})();
