// One checkpoint: what it is, how it was trained, and all its results.
"use strict";

(() => {
  const core = harness.core;
  const { el, word, elsewhere, unit, average, count, change, table, facts } = core;

  const STRONGEST = 5;

  function checkpoint(now) {
    const { board } = core;
    const row = Math.max(0, core.byId(now.get("checkpoint"))),
      item = board.checkpoints[row];
    const columns = board.columns.filter((column) => column.cells[row]);
    const parent =
      item.parent === null
        ? null
        : el(
            "p",
            {},
            `${word(`relation_${item.relation}`)} `,
            core.linkTo(item.parent),
            " · ",
            el(
              "a",
              { href: elsewhere({ compare: `${board.checkpoints[item.parent].id},${item.id}` }) },
              word("compare_with"),
            ),
          );
    return [
      el(
        "h2",
        {},
        core.nameOf(row),
        " ",
        el("span", { class: "about" }, [item.kind, item.quantization].filter(Boolean).join(" · ")),
      ),
      item.otherNames.length
        ? el("p", { class: "about" }, word("other_names", { names: item.otherNames.join(", ") }))
        : null,
      parent,
      facts(Object.entries(item.facts).map(([name, text]) => [word(`fact_${name}`), text])),
      item.training ? trainingElement(item.training) : null,
      subjects(row, columns),
      el("h3", {}, word("all_results")),
      table(
        [word("head_score"), word("value"), word("head_interval"), "n", word("answers")],
        columns.map((column) => {
          const cell = column.cells[row];
          return el(
            "tr",
            { class: column.headline ? "headline" : null },
            el(
              "th",
              { scope: "row" },
              column.task,
              " ",
              el("span", { class: "about" }, `${unit(column)} ${average(column)}`),
            ),
            el("td", { class: `number ${cell.best ? "best" : ""}` }, cell.text),
            el("td", { class: "interval" }, cell.interval ?? ""),
            el("td", { class: "number" }, count(cell.n)),
            el(
              "td",
              {},
              [cell.answers, ...(cell.apart ?? []).map((entry) => `${word("incomparable")}: ${entry.reason}`)]
                .filter(Boolean)
                .join("; "),
            ),
          );
        }),
      ),
      el("h3", {}, word("reports")),
      ...item.reports.map(report),
    ].filter(Boolean);
  }

  function trainingElement(record) {
    const { corpora, curve, evaluations, best, ...rest } = record;
    const entries = [
      ["stage", `${rest.stage} (${rest.method})`],
      ["parent", rest.parent],
      ["steps", count(rest.steps)],
      ["tokens", count(rest.tokens)],
      ["loss", rest.loss === null ? "" : rest.loss.toPrecision(4)],
      ["seed", String(rest.seed)],
      ["recipe", rest.recipe.slice(0, 12)],
      ["best", best ? `${best.metric} ${best.value.toPrecision(4)}, ${word("at_step", { step: best.step })}` : ""],
    ];
    return el(
      "section",
      {},
      el("h3", {}, word("training")),
      facts(entries.filter(([, text]) => text).map(([name, text]) => [word(`training_${name}`), text])),
      corpora.length
        ? table(
            [word("corpus"), word("examples"), word("training_tokens"), word("epochs")],
            corpora.map((corpus) =>
              el(
                "tr",
                {},
                el("th", { scope: "row" }, corpus.name),
                el("td", { class: "number" }, count(corpus.examples)),
                el("td", { class: "number" }, count(corpus.tokens)),
                el("td", { class: "number" }, corpus.epochs.toPrecision(3)),
              ),
            ),
          )
        : null,
      harness.curves(record),
    );
  }

  /** Return the strongest and weakest tasks: those furthest above and below the mean of all checkpoints. */
  function subjects(row, columns) {
    const tasks = columns.filter(
      (column) =>
        !column.average &&
        column.primary &&
        column.fraction &&
        column.cells.filter((cell) => cell && !cell.apart).length > 1 &&
        !column.cells[row].apart,
    );
    if (tasks.length < 2 * STRONGEST) return null;
    const distance = (column) => {
      const cells = column.cells.filter((cell) => cell && !cell.apart);
      return (
        (column.higher ? 1 : -1) * (column.cells[row].v - harness.stats.sum(cells.map((cell) => cell.v)) / cells.length)
      );
    };
    const ranked = tasks.map((column) => [distance(column), column]).sort((a, b) => b[0] - a[0]);
    const part = (title, list) =>
      el(
        "div",
        {},
        el("h4", {}, word(title)),
        el(
          "ul",
          {},
          list.map(([points, column]) =>
            el(
              "li",
              {},
              `${column.task}: ${column.cells[row].text} (${change((column.higher ? 1 : -1) * points, column, 50)})`,
            ),
          ),
        ),
      );
    return el(
      "section",
      {},
      el("h3", {}, word("subjects")),
      el("p", { class: "about" }, word("subjects_about")),
      el(
        "div",
        { class: "pair" },
        part("strongest", ranked.slice(0, STRONGEST)),
        part("weakest", ranked.slice(-STRONGEST).reverse()),
      ),
    );
  }

  function report(entry) {
    const protocol = Object.entries(entry.protocol).map(([key, value]) => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
    const engine = entry.engine
      ? [
          ["walk", entry.engine.walk],
          ["requests", count(entry.engine.requests)],
          ["remembered", count(entry.engine.answered_from_journal)],
          ["tokens_fed", count(entry.engine.tokens_fed)],
          ["tokens_generated", count(entry.engine.tokens_generated)],
          ["peak", entry.engine.peak],
        ]
      : [];
    return el(
      "details",
      {},
      el("summary", {}, entry.created, " ", el("span", { class: "about" }, entry.tasks.join(", ") || word("replaced"))),
      facts([
        [word("fact_time"), entry.seconds],
        ...engine.map(([name, text]) => [word(`engine_${name}`), text]),
        ...protocol,
        ["harness", entry.harness],
        ...Object.entries(entry.environment),
      ]),
      entry.notes.length
        ? el(
            "ul",
            {},
            entry.notes.map((note) => el("li", {}, note)),
          )
        : null,
      Object.keys(entry.failed).length
        ? el(
            "ul",
            { class: "warning" },
            Object.entries(entry.failed).map(([name, reason]) => el("li", {}, `${name}: ${reason}`)),
          )
        : null,
    );
  }

  core.views.checkpoint = checkpoint;
})();
