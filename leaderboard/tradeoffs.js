// A score against a cost, and the checkpoints that none beats in both.
"use strict";

(() => {
  const core = harness.core;
  const { el, word, go, fixed, decimals, table } = core;

  function tradeoffs(now) {
    const { board } = core;
    const costs = ["bytes", "peak", "parameters", "seconds", "speed", "tokens"].filter((key) =>
      board.checkpoints.some((item) => item.cost[key] !== null),
    );
    const columns = board.columns.map((column, i) => [i, column]).filter(([, column]) => column.headline);
    const cost = costs.includes(now.get("x")) ? now.get("x") : costs[0];
    const number = Number(now.get("y") ?? columns[0][0]),
      column = board.columns[number] ?? columns[0][1];
    const points = board.checkpoints
      .map((item, row) => ({ row, x: item.cost[cost], cell: column.cells[row] }))
      .filter((point) => cost && point.x !== null && point.cell && !point.cell.apart);
    const content = points.length
      ? [scatter(points, column, cost), paretoText(points, column, cost)]
      : [el("p", {}, word("no_costs"))];
    return [
      el("h2", {}, word("view_tradeoffs")),
      el(
        "form",
        { class: "tools", onsubmit: (e) => e.preventDefault() },
        core.select(
          word("score_axis"),
          columns.map(([i, entry]) => [i, `${entry.task} (${entry.metric})`]),
          number,
          (y) => go({ y }),
        ),
        core.select(
          word("cost_axis"),
          costs.map((key) => [key, word(`cost_${key}`)]),
          cost,
          (x) => go({ x }),
        ),
      ),
      el("p", { class: "about" }, word("tradeoffs_about")),
      ...content,
    ];
  }

  /** Return the points that no other beats in both score and cost; speed is better when higher, other costs when lower. */
  function pareto(points, column, cost) {
    const cheaper = (a, b) => (cost === "speed" ? a.x - b.x : b.x - a.x),
      better = (a, b) => (column.higher ? a.cell.v - b.cell.v : b.cell.v - a.cell.v);
    return points.filter(
      (point) =>
        !points.some(
          (other) =>
            cheaper(other, point) >= 0 &&
            better(other, point) >= 0 &&
            (cheaper(other, point) > 0 || better(other, point) > 0),
        ),
    );
  }

  const writtenCost = (cost, value) => core.COSTS[cost](value);

  function paretoText(points, column, cost) {
    const front = pareto(points, column, cost).sort((a, b) => a.x - b.x);
    return table(
      [word("pareto"), word(`cost_${cost}`), column.task, word("head_interval")],
      front.map((point) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, core.linkTo(point.row)),
          el("td", { class: "number" }, writtenCost(cost, point.x)),
          el("td", { class: "number" }, point.cell.text),
          el("td", { class: "interval" }, point.cell.interval ?? ""),
        ),
      ),
    );
  }

  function scatter(points, column, cost) {
    const [width, height, left, bottom] = [760, 400, 56, 40];
    const xs = points.map((point) => point.x),
      ends = points.flatMap(({ cell }) => [cell.low ?? cell.v, cell.high ?? cell.v]);
    const isLog = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 20,
      scale = isLog ? Math.log10 : (value) => value;
    const range = (values) => {
      const [low, high] = [Math.min(...values), Math.max(...values)],
        room = (high - low || Math.abs(high) || 1) * 0.1;
      return [low - room, high + room];
    };
    const [x0, x1] = range(xs.map(scale)),
      [y0, y1] = range(ends);
    const x = (value) => left + ((width - left - 40) * (scale(value) - x0)) / (x1 - x0),
      y = (value) => height - bottom - ((height - bottom - 12) * (value - y0)) / (y1 - y0);
    const front = pareto(points, column, cost).sort((a, b) => a.x - b.x);
    const ticks = [0, 0.25, 0.5, 0.75, 1],
      labelPlace = spaced();
    return el(
      "svg",
      {
        class: "scatter",
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": word("scatter_label", { score: column.task, cost: word(`cost_${cost}`) }),
      },
      ticks.map((share) => {
        const value = y0 + share * (y1 - y0),
          place = y(value);
        return [
          el("line", { class: "scale", x1: left, x2: width, y1: place, y2: place }),
          el(
            "text",
            { class: "about", x: left - 6, y: place + 4, "text-anchor": "end" },
            fixed(value, decimals(column, y1) > 2 ? 2 : 1),
          ),
        ];
      }),
      ticks.map((share) => {
        const value = x0 + share * (x1 - x0),
          number = isLog ? 10 ** value : value;
        return el(
          "text",
          { class: "about", x: left + share * (width - left - 40), y: height - bottom + 18, "text-anchor": "middle" },
          writtenCost(cost, Math.max(0, number)),
        );
      }),
      el(
        "text",
        { class: "about", x: (width + left) / 2, y: height - 4, "text-anchor": "middle" },
        word(`cost_${cost}`),
      ),
      front.length > 1
        ? el("path", {
            class: "front",
            d: front.map((point, i) => `${i ? "L" : "M"}${x(point.x)},${y(point.cell.v)}`).join(""),
          })
        : null,
      points.map(({ row, x: value, cell }) =>
        el(
          "g",
          { class: front.some((point) => point.row === row) ? "best" : "" },
          el(
            "title",
            {},
            `${core.board.checkpoints[row].label}: ${cell.text} ${cell.interval ?? ""}, ${writtenCost(cost, value)}`,
          ),
          cell.low === undefined
            ? null
            : el("line", { class: "range", x1: x(value), x2: x(value), y1: y(cell.low), y2: y(cell.high) }),
          el("circle", { cx: x(value), cy: y(cell.v), r: 4 }),
          el(
            "text",
            { x: x(value) + 7, y: labelPlace(x(value), y(cell.v) + 4) },
            core.board.checkpoints[row].label.slice(0, 24),
          ),
        ),
      ),
    );
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

  core.views.tradeoffs = tradeoffs;
})();
