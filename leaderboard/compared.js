// The view of two checkpoints compared: differences with their intervals, and links to the documents that differ.
"use strict";

harness.compared = (() => {
  const core = harness.core;
  const { el, word, elsewhere, go, change, fixed, decimals, probability, count, unit, average } = core;
  const { data, compare } = harness.compare;

  /** Return the two checkpoints that are compared first: the last step of the family, or the first two. */
  function usual() {
    const step = core.board.steps.at(-1);
    const [a, b] = step ? [step.parent, step.child] : [0, Math.min(1, core.board.checkpoints.length - 1)];
    return `${core.board.checkpoints[a].id},${core.board.checkpoints[b].id}`;
  }

  async function view(now, isCurrent) {
    const { board } = core;
    const [a, b] = now
      .get("compare")
      .split(",")
      .map(core.byId)
      .map((i) => Math.max(i, 0));
    const ids = (i, j) => `${board.checkpoints[i].id},${board.checkpoints[j].id}`;
    const showsAll = now.get("all") === "1";
    const columns = board.columns.filter(
      (column) => column.cells[a] && (showsAll || (column.headline && column.primary)),
    );
    const known = await data([a, b]);
    const body = el("tbody"),
      remarks = el("ul", { class: "remarks" });
    const results = [];
    const table = el(
      "table",
      { class: "compare" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ["score", "baseline", "candidate", "forest", "difference", "p", "flips", "documents"].map((key) =>
            el("th", { scope: "col" }, word(`head_${key}`)),
          ),
        ),
      ),
      body,
    );
    const page = [
      el("h2", {}, word("view_compare")),
      el(
        "form",
        { class: "tools", onsubmit: (e) => e.preventDefault() },
        core.select(word("baseline"), core.checkpointOptions(), a, (i) => go({ compare: ids(i, b) })),
        el("button", { type: "button", onclick: () => go({ compare: ids(b, a) }) }, "⇄"),
        core.select(word("candidate"), core.checkpointOptions(), b, (i) => go({ compare: ids(a, i) })),
        el(
          "label",
          { class: "choice" },
          el("input", {
            type: "checkbox",
            checked: showsAll,
            onchange: (e) => go({ all: e.target.checked ? "1" : null }),
          }),
          word("all_scores"),
        ),
        core.copyButton("Markdown", () => markdown(results, a, b)),
      ),
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
      if (result.reason)
        remarks.append(el("li", {}, el("b", {}, column.task), ` ${word("incomparable")}: ${result.reason}`));
      else body.append(line(result, a, b));
      if (result.leftOut)
        remarks.append(el("li", {}, `${column.task}: ${word("left_out", { count: count(result.leftOut) })}`));
      if (result.tainted)
        remarks.append(
          el(
            "li",
            {},
            `${column.task}: ${word("seen", { count: count(result.tainted.documents), difference: change(result.tainted.difference, column, result.tainted.baseline) })}`,
          ),
        );
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
    return el(
      "span",
      { class: `sign ${name}`, title },
      { 1: "▲", "-1": "▼", 0: "≈" }[mark],
      el("span", { class: "hidden" }, word(name)),
    );
  }

  function line(result, a, b) {
    const { column } = result,
      v = result.baseline,
      digits = decimals(column, v);
    const flips = (which, number) =>
      el(
        "a",
        {
          class: which,
          href: elsewhere({
            samples: `${column.members[0]}\t${column.filter}`,
            a: core.board.checkpoints[a].id,
            b: core.board.checkpoints[b].id,
            show: which,
          }),
        },
        `${word(which)} ${count(number)}`,
      );
    return el(
      "tr",
      {},
      el(
        "th",
        { scope: "row" },
        el("span", { class: "mark-place" }),
        " ",
        el("b", {}, column.task),
        " ",
        el("span", { class: "about" }, `${unit(column)} ${average(column)}`),
      ),
      el("td", { class: "number" }, fixed(result.baseline, digits)),
      el("td", { class: "number" }, fixed(result.candidate, digits)),
      el("td", { class: "forest" }, forest(result)),
      el(
        "td",
        { class: "number" },
        change(result.difference, column, v),
        " ",
        el(
          "span",
          { class: "interval" },
          result.interval ? result.interval.map((end) => change(end, column, v)).join(word("to")) : "",
        ),
      ),
      el(
        "td",
        {
          class: "number",
          title: `${word("needed")}: ${Number.isFinite(result.needed) ? count(Math.ceil(result.needed)) : "–"}`,
        },
        probability(result.p),
      ),
      el(
        "td",
        {},
        column.average
          ? [`${count(result.lost)} / ${count(result.gained)}`]
          : [flips("lost", result.lost), " ", flips("gained", result.gained)],
      ),
      el(
        "td",
        { class: "number" },
        count(result.documents),
        result.clusters === null
          ? null
          : el("span", { class: "about" }, ` ${word("in_clusters", { count: count(result.clusters) })}`),
      ),
    );
  }

  /** Return the interval of a difference on a scale around 0, better to the right. */
  function forest({ column, difference, interval }) {
    const better = column.higher ? 1 : -1,
      ends = interval ?? [difference, difference];
    const reach = column.fraction ? 50 : Math.max(Math.abs(ends[0]), Math.abs(ends[1]), 1e-9) * 1.25;
    const x = (value) => `${50 + 50 * Math.max(-1, Math.min(1, (better * value) / reach))}%`;
    const kind =
      interval && Math.sign(ends[0]) === Math.sign(ends[1]) && ends[0]
        ? better * ends[0] > 0
          ? "better"
          : "worse"
        : "";
    return el(
      "svg",
      { class: `whisker ${kind}`, "aria-hidden": "true" },
      el("line", { class: "scale", x1: "0", x2: "100%", y1: 7, y2: 7 }),
      el("line", { class: "zero", x1: "50%", x2: "50%", y1: 0, y2: 14 }),
      el("line", { class: "range", x1: x(ends[0]), x2: x(ends[1]), y1: 7, y2: 7 }),
      el("line", { class: "point", x1: x(difference), x2: x(difference), y1: 2, y2: 12 }),
    );
  }

  function markdown(results, a, b) {
    const { board } = core,
      cell = (text) => String(text).replaceAll("|", "\\|").replaceAll("\n", " ");
    const lines = [
      `${board.checkpoints[b].label} against ${board.checkpoints[a].label}`,
      "",
      "| task | metric | baseline | candidate | difference | 95 % interval | p | lost / gained | documents |",
      "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ];
    for (const result of results.filter((entry) => !entry.reason)) {
      const { column } = result,
        v = result.baseline,
        digits = decimals(column, v);
      lines.push(
        `| ${[column.task, unit(column), fixed(result.baseline, digits), fixed(result.candidate, digits), change(result.difference, column, v), result.interval ? result.interval.map((end) => change(end, column, v)).join(" to ") : "–", probability(result.p), `${result.lost} / ${result.gained}`, result.documents].map(cell).join(" | ")} |`,
      );
    }
    return lines.join("\n") + "\n";
  }

  core.views.compare = view;
  return { usual, markOf, markElement };
})();
