// Makes every table with data-sortable sortable by its heads. The page is complete without it.
//
// A head says in data-first which direction its first click sorts in: best first, for scores. A cell says in data-value
// what it is sorted by; a cell without one is missing and comes last in either direction.
"use strict";

const OPPOSITE = { ascending: "descending", descending: "ascending" };

const byNumber = (a, b) => Number(a) - Number(b);
const byName = (a, b) => a.localeCompare(b, undefined, { numeric: true });

function sortRows(body, index, direction) {
  const value = (row) => row.cells[index].dataset.value;
  const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
  const known = rows.filter((row) => value(row) !== undefined);
  const missing = rows.filter((row) => value(row) === undefined);
  const compare = known.some((row) => Number.isNaN(Number(value(row)))) ? byName : byNumber;
  const sign = direction === "ascending" ? 1 : -1;
  known.sort((a, b) => sign * compare(value(a), value(b)));
  body.append(...known, ...missing);
}

function sortBy(table, head) {
  const direction = OPPOSITE[head.getAttribute("aria-sort")] ?? head.dataset.first;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  for (const body of table.tBodies) sortRows(body, head.cellIndex, direction);
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const head of table.tHead.rows[0].cells) {
    const label = head.querySelector(".label");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "label";
    button.append(...label.childNodes);
    button.addEventListener("click", () => sortBy(table, head));
    label.replaceWith(button);
  }
}

// A link to a checkpoint opens its details; browsers that follow the HTML standard of 2023 do so by themselves.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (details && !details.open) {
    details.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", reveal);
reveal();
