// What a cell of the overview shows: a value with its interval, drawn on the column's scale, and what to know about it.
"use strict";

harness.cells = (() => {
  const core = harness.core;
  const { el, word, elsewhere, count } = core;
  const { cellOf } = harness.columns;

  /** Return a name that may break after each underscore. */
  const breakable = (name) =>
    el(
      "bdi",
      {},
      name.split("_").flatMap((part, i) => (i ? ["_", el("wbr"), part] : [part])),
    );

  function cellElement(item, row, marks, range) {
    const cell = cellOf(item, row);
    const attributes = { "data-cell": item.kind === "family" ? null : `${row},${item.number}`, class: item.kind };
    if (!cell) return el("td", { ...attributes, class: "missing", title: word("not_evaluated") }, "–");
    if (item.kind === "family")
      return el(
        "td",
        attributes,
        cell.text
          ? [el("span", { class: "value" }, cell.text), " ", el("span", { class: "interval" }, cell.interval)]
          : "–",
        el("span", { class: "about" }, ` ${word("coverage", { coverage: cell.coverage })}`),
      );
    const state = cell.apart ? "apart" : cell.best ? "best" : "";
    const value = el("span", { class: "value" }, cell.text);
    const td = el(
      "td",
      { ...attributes, class: `${item.kind} ${state}`, title: tooltip(item.column, cell) },
      value,
      " ",
      el("span", { class: "mark-place" }, marks.get(`${row},${item.number}`) ?? null),
    );
    if (item.kind === "task") {
      heat(td, (cell.v - range[0]) / (range[1] - range[0] || 1), item.column.higher);
      return td;
    }
    td.append(
      el("span", { class: "interval" }, cell.interval ?? ""),
      whisker(item.column, cell, range),
      ...badges(item.column, cell, row),
    );
    return td;
  }

  /** Colour a cell of a heat map; the colour repeats what the number says, in one hue of growing strength. */
  function heat(td, share, higher) {
    td.style.setProperty("--heat", `${Math.round(70 * Math.max(0, Math.min(1, higher ? share : 1 - share)))}%`);
  }

  /** Return the limit on documents of all headline scores of a checkpoint, if it is one for all. */
  function limitOf(row) {
    const cells = core.board.columns
      .filter((column) => column.headline)
      .map((column) => column.cells[row])
      .filter(Boolean);
    const limits = new Set(cells.map((cell) => cell.limited ?? ""));
    return limits.size === 1 ? [...limits][0] : "";
  }

  function badges(column, cell, row) {
    const list = [];
    for (const { label, reason } of cell.apart ?? [])
      list.push(el("a", { class: "badge", href: elsewhere({ method: column.task }), title: reason }, label));
    if (cell.standing) list.push(el("span", { class: "standing" }, word(cell.standing)));
    if (cell.doubtful) list.push(el("span", { class: "badge", title: cell.answers }, word("doubtful")));
    if (cell.unread)
      list.push(
        el(
          "a",
          {
            class: "fact",
            href: elsewhere({
              samples: `${column.members[0]}\t${column.filter}`,
              a: core.board.checkpoints[row].id,
              show: "unread",
            }),
          },
          word("unread", { count: count(cell.unread) }),
        ),
      );
    if (cell.cut) list.push(el("span", { class: "fact" }, word("cut", { count: count(cell.cut) })));
    if (cell.limited && !limitOf(row))
      list.push(el("span", { class: "badge" }, `limit ${cell.limited}, n = ${count(cell.n)}`));
    return list;
  }

  function tooltip(column, cell) {
    const parts = [
      `n = ${count(cell.n)}`,
      cell.standing && word(cell.standing),
      cell.answers,
      cell.best && word("best_title"),
      cell.untested && word("untested"),
      ...(cell.apart ?? []).map(({ label, reason }) => `${word("incomparable")}, ${label}: ${reason}`),
    ];
    return parts.filter(Boolean).join("; ");
  }

  function whisker(column, cell, [low, high]) {
    const x = (value) => `${(100 * Math.max(0, Math.min(1, (value - low) / (high - low || 1)))).toFixed(1)}%`;
    const mark = (kind, value) =>
      value === null || value === undefined
        ? null
        : el("line", { class: kind, x1: x(value), x2: x(value), y1: 0, y2: 10 });
    return el(
      "svg",
      { class: "whisker", "aria-hidden": "true" },
      el("line", { class: "scale", x1: 0, x2: "100%", y1: 5, y2: 5 }),
      mark("chance", column.chance),
      mark("ceiling", column.ceiling),
      cell.low === undefined ? null : el("line", { class: "range", x1: x(cell.low), x2: x(cell.high), y1: 5, y2: 5 }),
      mark("point", cell.v),
    );
  }

  /** Return the ends of a column's scale: 0 to 100 for percent, else 0 to its largest number; a heat map's own range. */
  function rangeOf(item) {
    const cells = item.column.cells.filter(Boolean);
    if (item.kind === "task")
      return [Math.min(...cells.map((cell) => cell.v)), Math.max(...cells.map((cell) => cell.v))];
    if (item.column.fraction) return [0, 100];
    const ends = cells.flatMap((cell) => [cell.low ?? cell.v, cell.high ?? cell.v]);
    return [Math.min(0, ...ends), Math.max(0, ...ends)];
  }

  return { breakable, cellElement, badges, rangeOf, limitOf };
})();
