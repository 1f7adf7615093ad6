// The columns of the overview: families of scores, which unfold to their scores, and averages, which unfold to their tasks.
"use strict";

harness.columns = (() => {
  const core = harness.core;
  const { fixed } = core;
  const FAMILIAR = 0.5; // the share of a family's scores with which a checkpoint has a say in the common subset

  /** Return what the table shows as columns: families, and below unfolded ones their scores and tasks. */
  function layout(open) {
    const { board } = core;
    return board.families.flatMap((family) => {
      const scores = family.columns.map((number) => ({ kind: "score", number, column: board.columns[number], family }));
      const folded = family.columns.length > 1 ? [{ kind: "family", family, common: commonSubset(family) }] : [];
      if (!open.has(family.name)) return folded.length ? folded : scores.slice(0, 1);
      return [...folded, ...scores.flatMap((score) => [score, ...tasksOf(score)])];
    });
  }

  /** Return the tasks of an average as columns of a heat map. */
  function tasksOf({ number, column, family }) {
    if (!column.average) return [];
    const members = new Set(column.members);
    return core.board.columns.flatMap((other, i) =>
      i !== number &&
      !other.average &&
      members.has(other.task) &&
      other.metric === column.metric &&
      other.filter === column.filter
        ? [{ kind: "task", number: i, column: other, family }]
        : [],
    );
  }

  const canUnfold = (family) => {
    const [number] = family.columns;
    return family.columns.length > 1 || tasksOf({ number, column: core.board.columns[number], family }).length > 0;
  };

  /** Return the scores over which a family is averaged: in percent, and had by all checkpoints that have half of them. */
  function commonSubset(family) {
    const { columns } = core.board;
    const usable = family.columns.filter(
      (number) => columns[number].fraction && columns[number].higher && columns[number].primary,
    );
    const has = (number, row) => comparable(columns[number].cells[row]);
    const coverage = (row) => usable.filter((number) => has(number, row)).length;
    const rows = [...core.board.checkpoints.keys()].filter(
      (row) => coverage(row) && coverage(row) >= FAMILIAR * usable.length,
    );
    return usable.filter((number) => rows.every((row) => has(number, row)));
  }

  const comparable = (cell) => Boolean(cell) && !cell.apart;

  /** Return a family's average over its common subset; without a value if the checkpoint lacks one of its scores. */
  function familyCell({ common }, row) {
    const cells = common.map((number) => core.board.columns[number].cells[row]).filter(comparable);
    if (!cells.length) return null;
    const coverage = `${cells.length}/${common.length}`;
    if (cells.length < common.length) return { coverage };
    const v = harness.stats.sum(cells.map((cell) => cell.v)) / cells.length;
    const halves = cells.map((cell) => (cell.high === undefined ? null : (cell.high - cell.low) / 2));
    const half = halves.includes(null) ? null : Math.sqrt(harness.stats.sum(halves.map((h) => h * h))) / cells.length;
    return {
      v,
      text: fixed(v, 1),
      coverage,
      interval: half === null ? "" : `${fixed(v - half, 1)}–${fixed(v + half, 1)}`,
    };
  }

  const cellOf = (item, row) => (item.kind === "family" ? familyCell(item, row) : item.column.cells[row]);

  const higherFirst = (item) => item.kind === "family" || item.column.higher;
  const keyOf = (item) => (item.kind === "family" ? `f:${item.family.name}` : `c:${item.number}`);

  return { layout, canUnfold, comparable, cellOf, keyOf, higherFirst };
})();
