// The overview as text to paste elsewhere: Markdown, comma-separated values, LaTeX.
"use strict";

harness.copies = (() => {
  const core = harness.core;
  const { word } = core;
  const { cellOf } = harness.columns;

  const plainHead = (item) =>
    item.kind === "family" ? item.family.name : `${item.column.task} (${item.column.metric})`;

  function grid(items, rows) {
    const texts = (item, row) => {
      const cell = cellOf(item, row);
      return cell?.text ? `${cell.text}${cell.interval ? ` [${cell.interval}]` : ""}${cell.apart ? " †" : ""}` : "";
    };
    return [
      [word("checkpoint"), ...items.map(plainHead)],
      ...rows.map((row) => [core.board.checkpoints[row].label, ...items.map((item) => texts(item, row))]),
    ];
  }

  function markdown(items, rows) {
    const cell = (text) => text.replace(/([\\|`*_<>[\]])/g, "\\$1").replaceAll("\n", " ");
    const [top, ...rest] = grid(items, rows).map((line) => `| ${line.map(cell).join(" | ")} |`);
    return [top, `|${"---|".repeat(items.length + 1)}`, ...rest].join("\n") + "\n";
  }

  /** Return comma-separated values; a text that a spreadsheet would take for a formula gets an apostrophe in front. */
  function csv(items, rows) {
    const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
    return (
      grid(items, rows)
        .map((line) => line.map(cell).join(","))
        .join("\r\n") + "\r\n"
    );
  }

  function latex(items, rows) {
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
    const cell = (text) =>
      text
        .replace(/[\\~^]|[&%$#_{}]/g, (mark) => special[mark] ?? `\\${mark}`)
        .replaceAll("–", "--")
        .replaceAll("−", "$-$");
    const lines = grid(items, rows).map((line) => `${line.map(cell).join(" & ")} \\\\`);
    return `\\begin{tabular}{l${"r".repeat(items.length)}}\n\\hline\n${lines[0]}\n\\hline\n${lines.slice(1).join("\n")}\n\\hline\n\\end{tabular}\n`;
  }

  return { markdown, csv, latex };
})();
