// How the numbers came about: protocols, versions, statistics, and what is not comparable.
"use strict";

(() => {
  const core = harness.core;
  const { el, word, unit, average, count, table } = core;

  function method(now) {
    const { board } = core,
      target = now.get("method");
    const apart = board.columns.flatMap((column) =>
      column.cells.flatMap((cell, row) => (cell?.apart ? cell.apart.map((entry) => [column, row, entry]) : [])),
    );
    const versions = new Map();
    for (const item of board.checkpoints)
      for (const entry of item.reports) {
        const key = `harness ${entry.harness}, ${["torch", "transformers", "lm_eval"]
          .filter((name) => entry.environment[name])
          .map((name) => `${name} ${entry.environment[name]}`)
          .join(", ")}`;
        versions.set(key, [...(versions.get(key) ?? []), item.label]);
      }
    const headline = board.columns.filter((column) => column.headline || column.task === target);
    return [
      el("h2", {}, word("view_method")),
      el("p", {}, word("method_about")),
      el("h3", {}, word("incomparable_scores")),
      apart.length
        ? table(
            [word("checkpoint"), word("head_score"), word("difference_kind"), word("reason")],
            apart.map(([column, row, entry]) =>
              el(
                "tr",
                { class: column.task === target ? "target" : null },
                el("th", { scope: "row" }, core.linkTo(row)),
                el("td", {}, column.task),
                el("td", {}, el("span", { class: "badge" }, entry.label)),
                el("td", {}, entry.reason),
              ),
            ),
          )
        : el("p", {}, word("all_comparable")),
      el("h3", {}, word("protocols")),
      table(
        [
          word("head_score"),
          word("metric"),
          word("data"),
          word("version"),
          word("shots_head"),
          "n",
          word("prompts_hash"),
        ],
        headline.map((column) =>
          el(
            "tr",
            { class: column.task === target ? "target" : null },
            el("th", { scope: "row" }, column.task, " ", el("span", { class: "about" }, average(column))),
            el("td", {}, unit(column), column.aggregation ? ` · ${column.aggregation}` : ""),
            el("td", {}, shortened(column.data)),
            el("td", {}, shortened(column.versions)),
            el("td", { class: "number" }, column.fewshot ?? "–"),
            el("td", { class: "number" }, count(column.n)),
            el("td", {}, el("code", {}, column.prompts.join(", "))),
          ),
        ),
      ),
      el("h3", {}, word("versions")),
      el(
        "ul",
        {},
        [...versions].map(([key, names]) => el("li", {}, `${key}: ${shortened([...new Set(names)])}`)),
      ),
      el("h3", {}, word("statistics")),
      el(
        "ul",
        {},
        ["interval", "test", "best", "marks", "average"].map((key) => el("li", {}, word(`statistics_${key}`))),
      ),
    ];
  }

  const shortened = (list) =>
    list.length > 4 ? `${list.slice(0, 4).join(", ")}, … (${list.length})` : list.join(", ");

  core.views.method = method;
})();
