// The curves of a training: its loss and each measurement, over the steps.
"use strict";

harness.curves = (() => {
  const { el, word, count } = harness.core;

  /** Return the training loss and each measurement of a training over its steps. */
  function curves({ curve, evaluations, best }) {
    const lines = [["loss", curve]];
    const names = new Set(evaluations.flatMap((entry) => Object.keys(entry).filter((name) => name !== "step")));
    for (const name of names)
      lines.push([
        name,
        evaluations
          .filter((entry) => entry[name] !== null && entry[name] !== undefined)
          .map((entry) => [entry.step, entry[name]]),
      ]);
    const drawn = lines.filter(([, points]) => points.length > 1);
    return drawn.length
      ? el(
          "div",
          { class: "curves" },
          drawn.map(([name, points]) =>
            el(
              "figure",
              {},
              el("figcaption", {}, name),
              lineChart(points, best?.step),
              el(
                "p",
                { class: "about" },
                word("from_to", {
                  first: points[0][1].toPrecision(4),
                  last: points.at(-1)[1].toPrecision(4),
                  steps: count(points.at(-1)[0]),
                }),
              ),
            ),
          ),
        )
      : null;
  }

  function lineChart(points, best) {
    const [width, height] = [320, 120],
      xs = points.map(([x]) => x),
      ys = points.map(([, y]) => y);
    const [low, high] = [Math.min(...ys), Math.max(...ys)],
      [start, end] = [Math.min(0, ...xs), Math.max(...xs)];
    const x = (value) => (width * (value - start)) / (end - start || 1),
      y = (value) => height - 6 - ((height - 12) * (value - low)) / (high - low || 1);
    const path = points
      .map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}`)
      .join("");
    return el(
      "svg",
      {
        class: "chart",
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": word("from_to", {
          first: ys[0].toPrecision(4),
          last: ys.at(-1).toPrecision(4),
          steps: count(end),
        }),
      },
      el("line", { class: "scale", x1: 0, x2: width, y1: height - 1, y2: height - 1 }),
      best ? el("line", { class: "zero", x1: x(best), x2: x(best), y1: 0, y2: height }) : null,
      el("path", { class: "curve", d: path }),
    );
  }

  return curves;
})();
