// The overview: what the steps changed, in sentences, and the table of checkpoints and scores.
//
// Marks say how a score differs from the checkpoint's parent, or from a baseline that the reader chooses; both are the
// paired test of compare.js.
//
// Not here: which columns the table has (columns.js), what a cell shows (cells.js), and texts to copy (copies.js).
"use strict";

(() => {
  const core = harness.core;
  const { el, word, named, go, adjust, unit, average, count } = core;
  const { layout, canUnfold, comparable, cellOf, keyOf, higherFirst } = harness.columns;
  const { breakable, cellElement, badges, rangeOf, limitOf } = harness.cells;
  const { markdown, csv, latex } = harness.copies;

  // --- marks

  /** Return for each checkpoint and column how it differs from its parent: the steps of the family. */
  function marksOfSteps() {
    const marks = new Map();
    for (const step of core.board.steps) {
      for (const change of step.changes) {
        const sign = { better: 1, worse: -1, open: 0 }[change.outcome];
        marks.set(
          `${step.child},${change.column}`,
          harness.compared.markElement(sign, change.corrected, step.changes.length),
        );
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
      const results = columns
        .map((column) => harness.compare.compare(known, column, baseline, row))
        .filter((result) => !result.reason);
      const corrected = harness.stats.holm(results.map((result) => result.p));
      await new Promise((resolve) => setTimeout(resolve));
      if (!isCurrent()) return;
      results.forEach((result, i) => {
        const place = body.querySelector(`[data-cell="${row},${board.columns.indexOf(result.column)}"] .mark-place`);
        place?.replaceChildren(
          harness.compared.markElement(harness.compared.markOf(result, corrected[i]), corrected[i], results.length),
        );
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
    if (now.get("complete") === "1")
      rows = rows.filter((row) =>
        items.every((item) => cellOf(item, row)?.v !== undefined && comparable(cellOf(item, row))),
      );
    const [key, direction] = (now.get("sort") ?? "").split(" ");
    const item = items.find((entry) => keyOf(entry) === key);
    const sign = direction === "back" ? -1 : 1;
    if (key === "name")
      rows.sort(
        (a, b) =>
          sign * board.checkpoints[a].label.localeCompare(board.checkpoints[b].label, undefined, { numeric: true }),
      );
    if (core.COSTS[key]) rows.sort(by((row) => board.checkpoints[row].cost[key], sign));
    if (item) rows.sort(by((row) => cellOf(item, row)?.v, higherFirst(item) ? -sign : sign));
    return rows;
  }

  /** Return an order of rows by a value; rows without one come last in either direction. */
  const by =
    (value, sign = 1) =>
    (a, b) => {
      const [x, y] = [value(a), value(b)].map((number) => number ?? null);
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x - y);
    };

  /** Return the costs that any checkpoint has. */
  const knownCosts = () =>
    Object.entries(core.COSTS).filter(
      ([key]) => key !== "parameters" && core.board.checkpoints.some((checkpoint) => checkpoint.cost[key] !== null),
    );

  // --- the table

  function head(item, now, open) {
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    const key = keyOf(item),
      isSorted = sorted === key;
    const order = isSorted ? (higherFirst(item) !== (direction === "back") ? "descending" : "ascending") : null;
    const title = item.kind === "family" ? item.family.name : item.column.task;
    const sort = el(
      "button",
      {
        type: "button",
        class: "sort",
        onclick: () => go({ sort: isSorted && direction !== "back" ? `${key} back` : key }),
      },
      el("b", {}, breakable(title)),
    );
    const isFirst =
      item.kind === "family" ||
      (item.kind === "score" && item.number === item.family.columns[0] && item.family.columns.length === 1);
    const unfold =
      isFirst && canUnfold(item.family)
        ? el(
            "button",
            {
              type: "button",
              class: "unfold",
              "aria-expanded": String(open.has(item.family.name)),
              title: word("unfold"),
              onclick: () => toggle(now, open, item.family.name),
            },
            open.has(item.family.name) ? "−" : "+",
          )
        : null;
    return el(
      "th",
      { scope: "col", class: item.kind, "aria-sort": order },
      sort,
      unfold,
      about(item).map((text) => el("span", { class: "about" }, text)),
    );
  }

  /** Return the lines below a column's name. */
  function about(item) {
    if (item.kind === "family")
      return [word("mean_family", { count: item.common.length, of: item.family.columns.length })];
    const { column } = item,
      bounds = [
        ["chance", column.chance],
        ["ceiling", column.ceiling],
      ].filter(([, value]) => value !== null);
    const size = [column.fewshot === null ? "" : word("shots", { count: column.fewshot }), `n = ${count(column.n)}`]
      .filter(Boolean)
      .join(", ");
    if (item.kind === "task") return [`n = ${count(column.n)}`];
    return [
      unit(column),
      average(column),
      size,
      bounds.map(([name, value]) => `${word(name)} ${Number(value.toFixed(2))}`).join(", "),
    ].filter(Boolean);
  }

  function toggle(now, open, name) {
    const next = new Set(open);
    if (!next.delete(name)) next.add(name);
    go({ open: [...next].join(",") });
  }

  function rowHead(row) {
    const checkpoint = core.board.checkpoints[row],
      facts = checkpoint.facts;
    const parts = [checkpoint.kind, checkpoint.quantization, facts.parameters, facts.dtype].filter(Boolean).join(" · ");
    const parent =
      checkpoint.parent === null
        ? null
        : el("span", { class: "about" }, `← ${core.board.checkpoints[checkpoint.parent].label}`);
    const limit = limitOf(row) ? el("span", { class: "badge" }, `limit ${limitOf(row)}`) : null;
    return el("th", { scope: "row" }, core.linkTo(row), el("span", { class: "about" }, parts), parent, limit);
  }

  function costCells(row) {
    const { cost } = core.board.checkpoints[row];
    return knownCosts().map(([key, written]) =>
      el("td", { class: "number cost" }, cost[key] === null ? "–" : written(cost[key])),
    );
  }

  function costHeads(now) {
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    return knownCosts().map(([key]) =>
      el(
        "th",
        {
          scope: "col",
          class: "cost",
          "aria-sort": sorted === key ? (direction === "back" ? "descending" : "ascending") : null,
        },
        el(
          "button",
          {
            type: "button",
            class: "sort",
            onclick: () => go({ sort: sorted === key && direction !== "back" ? `${key} back` : key }),
          },
          el("b", {}, word(`cost_${key}`)),
        ),
      ),
    );
  }

  function tableElement(items, rows, now, open, marks) {
    const ranges = new Map(items.filter((item) => item.column).map((item) => [item, rangeOf(item)]));
    const [sorted, direction] = (now.get("sort") ?? "").split(" ");
    const corner = el(
      "th",
      { scope: "col", "aria-sort": sorted === "name" ? (direction === "back" ? "descending" : "ascending") : null },
      el(
        "button",
        {
          type: "button",
          class: "sort",
          onclick: () => go({ sort: sorted === "name" && direction !== "back" ? "name back" : "name" }),
        },
        el("b", {}, word("checkpoint")),
      ),
    );
    const body = el(
      "tbody",
      {},
      rows.map((row) =>
        el(
          "tr",
          {},
          rowHead(row),
          items.map((item) => cellElement(item, row, marks, ranges.get(item))),
          now.get("cost") === "0" ? [] : costCells(row),
        ),
      ),
    );
    return el(
      "table",
      { class: "board" },
      el("caption", { class: "hidden" }, word("table_caption")),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          corner,
          items.map((item) => head(item, now, open)),
          now.get("cost") === "0" ? [] : costHeads(now),
        ),
      ),
      body,
    );
  }

  /** Return the table turned by a quarter for a narrow screen: a card for each checkpoint. */
  function cards(items, rows, marks) {
    return el(
      "div",
      { class: "cards" },
      rows.map((row) =>
        el(
          "article",
          { class: "card" },
          el("h3", {}, core.linkTo(row)),
          el(
            "dl",
            {},
            items.map((item) => {
              const cell = cellOf(item, row);
              return el(
                "div",
                {
                  class: cell?.best ? "best" : null,
                  "data-cell": item.kind === "family" ? null : `${row},${item.number}`,
                },
                el("dt", {}, breakable(item.kind === "family" ? item.family.name : item.column.task)),
                el(
                  "dd",
                  {},
                  cell?.text ?? "–",
                  " ",
                  el("span", { class: "mark-place" }, marks.get(`${row},${item.number}`)?.cloneNode(true) ?? null),
                  " ",
                  el("span", { class: "interval" }, cell?.interval ?? ""),
                  item.kind === "score" && cell ? badges(item.column, cell, row) : null,
                ),
              );
            }),
          ),
        ),
      ),
    );
  }

  // --- the view

  function tools(now, items, rows, open) {
    const { board } = core;
    const check = (key, label) =>
      el(
        "label",
        { class: "choice" },
        el("input", {
          type: "checkbox",
          checked: now.get(key) === "1",
          onchange: (e) => go({ [key]: e.target.checked ? "1" : null }),
        }),
        label,
      );
    const baselines = [["", word("own_parent")], ...core.checkpointOptions()];
    const chosen = core.byId(now.get("base") ?? "");
    const folding = board.families.some(canUnfold)
      ? el(
          "button",
          {
            type: "button",
            onclick: () =>
              go({
                open: open.size
                  ? null
                  : board.families
                      .filter(canUnfold)
                      .map((family) => family.name)
                      .join(","),
              }),
          },
          word(open.size ? "fold_all" : "unfold_all"),
        )
      : null;
    return el(
      "form",
      { class: "tools", onsubmit: (e) => e.preventDefault() },
      el(
        "label",
        { class: "choice" },
        el("span", {}, word("find")),
        el("input", {
          type: "search",
          value: now.get("find") ?? "",
          oninput: (e) => keepFocus(e.target, () => adjust({ find: e.target.value })),
        }),
      ),
      core.select(word("marks_against"), baselines, chosen < 0 ? "" : chosen, (i) =>
        go({ base: i === "" ? null : board.checkpoints[i].id }),
      ),
      check("complete", word("complete_only")),
      check("dense", word("dense")),
      folding,
      core.copyButton("Markdown", () => markdown(items, rows)),
      core.copyButton("CSV", () => csv(items, rows)),
      core.copyButton("LaTeX", () => latex(items, rows)),
    );
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
    const items = layout(open),
      rows = rowsFor(now, items);
    const baseline = core.byId(now.get("base") ?? "");
    const marks = baseline < 0 ? marksOfSteps() : new Map();
    const sentences = board.sentences.map((sentence) => el("li", {}, named(sentence[core.language])));
    const content = NARROW.matches
      ? cards(items, rows, marks)
      : el(
          "div",
          {
            class: `scroll ${now.get("dense") === "1" ? "dense" : ""}`,
            tabindex: "0",
            role: "region",
            "aria-label": word("table_caption"),
          },
          tableElement(items, rows, now, open, marks),
        );
    if (baseline >= 0) markAgainst(baseline, content, isCurrent);
    return [
      sentences.length
        ? el(
            "section",
            { class: "sentences", "aria-label": word("changes") },
            el("ul", {}, sentences.slice(0, 6)),
            sentences.length > 6
              ? el(
                  "details",
                  {},
                  el("summary", {}, word("more_sentences", { count: sentences.length - 6 })),
                  el("ul", {}, sentences.slice(6)),
                )
              : null,
          )
        : null,
      tools(now, items, rows, open),
      content,
      el(
        "div",
        { class: "legend" },
        [
          "legend_best",
          "legend_marks",
          "legend_apart",
          board.columns.some((column) => column.chance !== null) ? "legend_chance" : null,
        ]
          .filter(Boolean)
          .map((key) => el("p", {}, word(key))),
      ),
    ].filter(Boolean);
  }

  core.views.overview = view;
})();
