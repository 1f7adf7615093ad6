// The steps of a family: a tree, what each step changed, and which corpora each checkpoint learned.
"use strict";

(() => {
  const core = harness.core;
  const { el, word, elsewhere, change, table } = core;

  const [BOX, GAP, RISE] = [150, 70, 62];

  function stages() {
    const { board } = core;
    const nodes = board.checkpoints.map((item, row) => ({ item, row, depth: depthOf(row) }));
    const withSteps = new Set(board.steps.flatMap((step) => [step.parent, step.child]));
    return [
      el("h2", {}, word("view_stages")),
      board.steps.length
        ? el("div", { class: "scroll" }, tree(nodes.filter((node) => withSteps.has(node.row))))
        : el("p", {}, word("no_steps")),
      ...board.steps.map(stepElement),
      ticks(),
      ...board.checkpoints.flatMap((item, row) =>
        item.training?.curve.length > 1
          ? [
              el(
                "section",
                {},
                el("h3", {}, core.linkTo(row), " ", el("span", { class: "about" }, word("curves"))),
                harness.curves(item.training),
              ),
            ]
          : [],
      ),
    ].filter(Boolean);
  }

  function depthOf(row, steps = 0) {
    const { parent } = core.board.checkpoints[row];
    return parent === null || steps > 999 ? 0 : 1 + depthOf(parent, steps + 1);
  }

  function tree(nodes) {
    const lanes = new Map();
    const order = [...nodes].sort((a, b) => a.depth - b.depth || laneOf(a) - laneOf(b) || a.row - b.row);
    function laneOf(node) {
      return lanes.get(node.item.parent) ?? 0;
    }
    const used = new Map();
    for (const node of order) {
      const lane = Math.max(laneOf(node), used.get(node.depth) ?? 0);
      lanes.set(node.row, lane);
      used.set(node.depth, lane + 1);
    }
    const x = (node) => node.depth * (BOX + GAP),
      y = (node) => lanes.get(node.row) * RISE;
    const width = Math.max(...nodes.map(x)) + BOX + 2,
      height = Math.max(...nodes.map(y)) + 46;
    const byRow = new Map(nodes.map((node) => [node.row, node]));
    const edges = core.board.steps.map((step) => {
      const [from, to] = [byRow.get(step.parent), byRow.get(step.child)];
      const [x1, y1, x2, y2] = [x(from) + BOX, y(from) + 20, x(to), y(to) + 20];
      return el("path", {
        class: `edge ${step.verdict ?? ""}`,
        d: `M${x1},${y1}C${x1 + GAP / 2},${y1} ${x2 - GAP / 2},${y2} ${x2},${y2}`,
      });
    });
    const boxes = nodes.map((node) => {
      const step = core.board.steps.find((entry) => entry.child === node.row);
      const tally = step ? tallyOf(step) : "";
      const label = node.item.label.length > 18 ? `${node.item.label.slice(0, 17)}…` : node.item.label;
      return el(
        "g",
        { class: "node", transform: `translate(${x(node)},${y(node) + 1})` },
        el("title", {}, `${node.item.label} ${tally}`),
        el("rect", { width: BOX, height: 40, rx: 4 }),
        el("text", { x: 8, y: 17 }, label),
        el("text", { x: 8, y: 33, class: "about" }, tally),
      );
    });
    return el(
      "svg",
      {
        class: "tree",
        width,
        height,
        viewBox: `-1 0 ${width} ${height}`,
        role: "img",
        "aria-label": word("tree_label", { count: nodes.length }),
      },
      edges,
      boxes,
    );
  }

  function tallyOf(step) {
    const number = (outcome) => step.changes.filter((entry) => entry.outcome === outcome).length;
    return `▲ ${number("better")}  ▼ ${number("worse")}  ≈ ${number("open")}`;
  }

  function stepElement(step) {
    const { board } = core,
      [parent, child] = [step.parent, step.child];
    const rows = step.changes.map((entry) => {
      const column = board.columns[entry.column],
        v = column.cells[parent].v;
      const sign = { better: 1, worse: -1, open: 0 }[entry.outcome];
      return el(
        "tr",
        {},
        el(
          "th",
          { scope: "row" },
          harness.compared.markElement(sign, entry.corrected, step.changes.length),
          " ",
          column.task,
        ),
        el("td", { class: "number" }, column.cells[parent].text),
        el("td", { class: "number" }, column.cells[child].text),
        el(
          "td",
          { class: "number" },
          entry.text,
          " ",
          el(
            "span",
            { class: "interval" },
            entry.low === null ? "" : `${change(entry.low, column, v)}${word("to")}${change(entry.high, column, v)}`,
          ),
        ),
        el("td", { class: `verdict ${entry.verdict}` }, word(entry.verdict)),
        el("td", { class: "about" }, [entry.reason, ...entry.signs].join("; ")),
      );
    });
    return el(
      "details",
      { class: "step" },
      el(
        "summary",
        {},
        core.nameOf(parent),
        " → ",
        core.nameOf(child),
        " ",
        el("span", { class: "about" }, word(`relation_${step.relation}`)),
        " ",
        step.verdict ? el("span", { class: `verdict ${step.verdict}` }, word(step.verdict)) : null,
        " ",
        el("span", { class: "about" }, tallyOf(step)),
      ),
      el(
        "p",
        {},
        el(
          "a",
          { href: elsewhere({ compare: `${board.checkpoints[parent].id},${board.checkpoints[child].id}` }) },
          word("compare_with"),
        ),
      ),
      table(
        [
          word("head_score"),
          board.checkpoints[parent].label,
          board.checkpoints[child].label,
          word("head_difference"),
          word("verdict"),
          word("reason"),
        ],
        rows,
      ),
      step.refused.length
        ? el(
            "ul",
            { class: "remarks" },
            step.refused.map((entry) =>
              el("li", {}, `${board.columns[entry.column].task} ${word("incomparable")}: ${entry.reason}`),
            ),
          )
        : null,
    );
  }

  /** Return which checkpoint learned from which corpus, its ancestors' corpora in brackets. */
  function ticks() {
    const { board } = core;
    const own = (row) =>
      new Set([
        ...(board.checkpoints[row].training?.corpora ?? []).map((corpus) => corpus.name),
        ...board.checkpoints[row].corpora,
      ]);
    const inherited = (row) => {
      const { parent } = board.checkpoints[row];
      return parent === null ? new Set() : new Set([...own(parent), ...inherited(parent)]);
    };
    const isCopy = (row) => board.checkpoints[row].relation === "quantised";
    const names = [...new Set(board.checkpoints.flatMap((_, row) => [...own(row)]))];
    if (!names.length) return null;
    return el(
      "section",
      {},
      el("h3", {}, word("corpora")),
      el("p", { class: "about" }, word("corpora_about")),
      table(
        [word("checkpoint"), ...names],
        board.checkpoints.map((_, row) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, core.linkTo(row)),
            names.map((name) =>
              el(
                "td",
                { class: "tick" },
                own(row).has(name) && !isCopy(row) ? "✓" : inherited(row).has(name) || own(row).has(name) ? "(✓)" : "",
              ),
            ),
          ),
        ),
      ),
    );
  }

  core.views.stages = stages;
})();
