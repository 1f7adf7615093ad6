// The samples of one task: a list of all documents, of which only the visible rows exist, and one document in full.
"use strict";

harness.samples = (() => {
  const core = harness.core;
  const { el, word, go, load, count } = core;
  const HEIGHT = 34; // pixels of a row
  const TALLEST = 4000000; // pixels: Firefox draws no element taller than 17.8 million

  // --- a list of which only the visible rows exist

  /** Return an element that scrolls over `size` rows; `row(i)` returns the element of one. */
  function virtual(size, row) {
    const height = Math.min(size * HEIGHT, TALLEST),
      space = el("div", { class: "space" });
    const box = el("div", { class: "virtual", tabindex: "0", role: "list", "aria-label": word("view_samples") }, space);
    space.style.height = `${height}px`;
    let first = -1;
    const draw = () => {
      const visible = Math.ceil(box.clientHeight / HEIGHT) + 2;
      const share = box.scrollTop / Math.max(1, height - box.clientHeight);
      const next = Math.max(0, Math.min(size - visible + 2, Math.round(share * Math.max(0, size - visible + 2))));
      if (next === first) return;
      first = next;
      const rows = Array.from({ length: Math.min(visible, size - first) }, (_, i) => {
        const node = row(first + i);
        node.style.top = `${Math.min(box.scrollTop, height - Math.min(visible, size - first) * HEIGHT) + i * HEIGHT}px`;
        return node;
      });
      space.replaceChildren(...rows);
    };
    box.addEventListener("scroll", draw);
    new ResizeObserver(() => {
      first = -1;
      draw();
    }).observe(box);
    return box;
  }

  // --- texts

  /** Return the texts of row `i` from its part, an object by column; null if the site has no texts of it. */
  async function texts(parts, i) {
    const part = parts.findLast(([start]) => start <= i);
    if (!part) return null;
    const { columns, rows } = await load(part[1]);
    const row = rows[i - part[0]];
    return row && Object.fromEntries(columns.map((name, k) => [name, row[k]]));
  }

  /** Return all texts of a part-wise list, for a search. */
  async function allTexts(parts) {
    const loaded = await Promise.all(parts.map(([, name]) => load(name)));
    return loaded.flatMap(({ rows }) => rows.map((row) => (row ? JSON.stringify(row).toLowerCase() : "")));
  }

  // --- which documents

  const numeric = (value) =>
    Array.isArray(value) ? (value.length === 2 ? (value[1] ? value[0] / value[1] : 1) : NaN) : (value ?? NaN);

  function scoreOf(side, metric) {
    return metric && side && metric in side.metrics ? harness.compare.list(side.metrics[metric]).map(numeric) : null;
  }

  /** Return the documents that a filter leaves: their rows in the first checkpoint's list. */
  function selected({ n, first, second, column, show, other, values, partner }) {
    const higher = column ? column.higher : true;
    const keep =
      {
        all: () => true,
        wrong: (i) => values && !(higher ? values[i] >= 1 : values[i] <= 0) && !Number.isNaN(values[i]),
        right: (i) => values && (higher ? values[i] >= 1 : values[i] <= 0),
        unread: (i) => first.not_understood && harness.compare.list(first.not_understood)[i] > 0,
        cut: (i) => first.cut_at_limit && harness.compare.list(first.cut_at_limit)[i] > 0,
        tainted: (i) => first.tainted && harness.compare.list(first.tainted)[i],
        flipped: (i) => differs(i) !== 0,
        lost: (i) => differs(i) < 0,
        gained: (i) => differs(i) > 0,
      }[show] ?? (() => true);
    function differs(i) {
      const j = partner?.get(i);
      if (j === undefined || !values || !other || Number.isNaN(values[i]) || Number.isNaN(other[j])) return 0;
      return Math.sign(higher ? other[j] - values[i] : values[i] - other[j]);
    }
    return Array.from({ length: n }, (_, i) => i).filter(keep);
  }

  // --- the view

  async function view(now, isCurrent) {
    const { board } = core;
    const units = await load(board.units);
    const names = Object.keys(units);
    if (!names.length) return [el("h2", {}, word("view_samples")), el("p", {}, word("no_samples"))];
    const name = names.includes(now.get("samples")) ? now.get("samples") : names[0];
    const [task, filter] = name.split("\t"),
      unit = units[name];
    const answers = await Promise.all(board.answers.map((part) => load(part)));
    const having = [...board.checkpoints.keys()].filter((i) => answers[i][name]);
    const a = having.includes(core.byId(now.get("a"))) ? core.byId(now.get("a")) : having[0];
    const b =
      having.includes(core.byId(now.get("b"))) && core.byId(now.get("b")) !== a ? core.byId(now.get("b")) : null;
    const first = answers[a][name],
      second = b === null ? null : answers[b][name];
    const column =
      board.columns.find(
        (entry) => entry.task === task && entry.filter === filter && entry.primary && !entry.average,
      ) ?? board.columns.find((entry) => entry.task === task && entry.filter === filter);
    const values = scoreOf(first, column?.metric),
      other = scoreOf(second, column?.metric);
    const { partner, reason } = partnersOf(unit, first, second);
    const show = now.get("show") ?? "all";
    const n = unit.classes[first.class].n;
    let documents = selected({ n, first, second, column, show, other, values, partner });
    const text = (now.get("find") ?? "").toLowerCase();
    if (text) {
      const lists = await Promise.all([unit.questions[first.class], first.texts].map(allTexts));
      documents = documents.filter((i) => lists.some((list) => list[i]?.includes(text)));
    }
    if (!isCurrent()) return [];
    const ids = unit.classes[first.class].documents ? harness.compare.list(unit.classes[first.class].documents) : null;
    const idOf = (i) => (ids ? ids[i] : i);
    const chosen = now.has("doc") ? documents.find((i) => String(idOf(i)) === now.get("doc")) : documents[0];
    const list = virtual(documents.length, (k) => {
      const i = documents[k];
      return summary(i, idOf(i), { unit, first, second, values, other, partner, isChosen: i === chosen });
    });
    const detail = el("div", { class: "document", "aria-live": "polite" });
    if (chosen !== undefined)
      showDocument(detail, chosen, idOf(chosen), { board, unit, first, second, a, b, column, values, other, partner });
    const options = [
      "all",
      "wrong",
      "right",
      "unread",
      "cut",
      "tainted",
      ...(second ? ["flipped", "lost", "gained"] : []),
    ];
    return [
      el(
        "h2",
        {},
        word("view_samples"),
        " ",
        el("span", { class: "about" }, `${task}${filter === "none" ? "" : ` (${filter})`}`),
      ),
      el(
        "form",
        { class: "tools", onsubmit: (e) => e.preventDefault() },
        core.select(
          word("task"),
          names.map((entry) => [entry, entry.replace("\tnone", "").replace("\t", " · ")]),
          name,
          (value) => go({ samples: value, doc: null }),
        ),
        core.select(
          word("checkpoint"),
          having.map((i) => [i, board.checkpoints[i].label]),
          a,
          (i) => go({ a: board.checkpoints[i].id }),
        ),
        core.select(
          word("beside"),
          [["", "–"], ...having.filter((i) => i !== a).map((i) => [i, board.checkpoints[i].label])],
          b ?? "",
          (i) => go({ b: i === "" ? null : board.checkpoints[i].id }),
        ),
        core.select(
          word("show"),
          options.map((key) => [key, word(`show_${key}`)]),
          show,
          (value) => go({ show: value === "all" ? null : value, doc: null }),
        ),
        el(
          "label",
          { class: "choice" },
          el("span", {}, word("find_text")),
          el("input", {
            type: "search",
            value: now.get("find") ?? "",
            onchange: (e) => go({ find: e.target.value, doc: null }),
          }),
        ),
      ),
      reason ? el("p", { class: "warning" }, `${word("incomparable")}: ${reason}`) : null,
      el(
        "p",
        { class: "about", role: "status" },
        word("documents_shown", { count: count(documents.length), of: count(n) }),
      ),
      el("div", { class: "samples" }, list, detail),
    ].filter(Boolean);
  }

  /** Return for the first checkpoint's rows the same documents in the second's list, or why there are none. */
  function partnersOf(unit, first, second) {
    if (!second) return {};
    try {
      const { rows } = harness.compare.matched(unit, first.class, second.class);
      return { partner: new Map(rows[0].map((row, i) => [row, rows[1][i]])) };
    } catch (error) {
      return { reason: error.message };
    }
  }

  const written = (value) =>
    value === undefined || value === null || Number.isNaN(value) ? "–" : String(Number(value.toPrecision(4)));

  function summary(i, id, { unit, first, second, values, other, partner, isChosen }) {
    const scores = [values ? written(values[i]) : "", second && other ? written(other[partner?.get(i)]) : null].filter(
      (part) => part !== null,
    );
    const line = el("span", { class: "line" });
    texts(unit.questions[first.class], i).then((row) => row && (line.textContent = lastLine(row.prompt)));
    return el(
      "a",
      { class: "summary", role: "listitem", href: core.address({ doc: id }), "aria-current": isChosen ? "true" : null },
      el("span", { class: "id" }, id),
      el("span", { class: "scores" }, scores.join(" → ")),
      line,
    );
  }

  const lastLine = (text) => {
    const lines = text
      .trim()
      .split("\n")
      .filter((part) => part.trim());
    return lines.slice(-3).join(" ").slice(-160);
  };

  async function showDocument(place, i, id, { board, unit, first, second, a, b, column, values, other, partner }) {
    const question = await texts(unit.questions[first.class], i);
    const sides = [[a, first, i, values], ...(second && partner?.has(i) ? [[b, second, partner.get(i), other]] : [])];
    const answers = await Promise.all(
      sides.map(async ([number, side, row, scores]) => ({
        number,
        side,
        row,
        scores,
        text: await texts(side.texts, row),
      })),
    );
    place.replaceChildren(
      ...[
        el("h3", {}, word("document", { id })),
        question
          ? [
              el(
                "details",
                { open: question.prompt.length < 1500 },
                el("summary", {}, word("prompt")),
                el("pre", {}, question.prompt),
              ),
              el("p", {}, el("b", {}, word("expected")), " ", el("span", { class: "text" }, question.target)),
            ]
          : el("p", { class: "about" }, word("no_texts")),
        answers.map((answer, k) => answerElement(answer, question, column, k ? answers[0] : null)),
      ].flat(),
    );
    if (question && question.prompt.length >= 1500)
      place.insertBefore(el("pre", { class: "end" }, `…${question.prompt.slice(-600)}`), place.children[1]);
  }

  function answerElement({ number, side, row, scores, text }, question, column, before) {
    const value = scores?.[row];
    const isRight = column && value !== undefined && (column.higher ? value >= 1 : value <= 0);
    const facts = [];
    for (const [metric, packed] of Object.entries(side.metrics)) {
      const entry = harness.compare.list(packed)[row];
      if (entry !== null && entry !== undefined && !Number.isNaN(numeric(entry)))
        facts.push(`${metric} ${written(numeric(entry))}`);
    }
    const parts = [];
    if (text) {
      if (question?.choices?.length && text.logprobs) parts.push(choices(question, text));
      const response = text.responses?.length ? text.responses[0] : null;
      if (response !== null)
        parts.push(
          el(
            "pre",
            { class: "text" },
            before?.text?.responses?.length ? marked(before.text.responses[0], response) : response,
          ),
        );
      if (text.prediction !== null && text.prediction?.trim() !== response?.trim())
        parts.push(
          el(
            "p",
            {},
            el("b", {}, word("read_as")),
            " ",
            el("span", { class: "text" }, text.prediction || word("nothing")),
          ),
        );
      if (text.endings?.length && text.endings[0] !== "stop")
        parts.push(el("p", { class: "about" }, word(`ending_${text.endings[0]}`)));
    }
    return el(
      "section",
      { class: `answer ${isRight ? "right" : ""}` },
      el("h4", {}, core.nameOf(number), " ", el("span", { class: "about" }, facts.join(" · "))),
      parts,
    );
  }

  /** Return the choices with their log-likelihoods, the most likely and the right one marked. */
  function choices(question, text) {
    const best = text.logprobs.indexOf(Math.max(...text.logprobs));
    return el(
      "ol",
      { class: "choices" },
      question.choices.map((choice, k) =>
        el(
          "li",
          { class: `${k === best ? "chosen" : ""} ${choice.trim() === question.target.trim() ? "target" : ""}` },
          el("span", { class: "text" }, choice),
          " ",
          el(
            "span",
            { class: "about" },
            text.logprobs[k] === null ? "" : text.logprobs[k].toFixed(3),
            k === best ? ` ${word("chosen")}` : "",
          ),
        ),
      ),
    );
  }

  /** Return `text` with the words marked that are not in the longest common sequence of words with `before`. */
  function marked(before, text) {
    const words = (value) => value.match(/\p{Script=Han}|[\p{L}\p{N}]+|\s+|[^\p{L}\p{N}\s]/gu) ?? [];
    const [old, fresh] = [words(before), words(text)];
    if (old.length * fresh.length > 4e6) return text;
    const width = fresh.length + 1,
      lengths = new Uint16Array((old.length + 1) * width);
    for (let i = old.length - 1; i >= 0; i--)
      for (let j = fresh.length - 1; j >= 0; j--) {
        lengths[i * width + j] =
          old[i] === fresh[j]
            ? lengths[(i + 1) * width + j + 1] + 1
            : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
      }
    const parts = [];
    for (let i = 0, j = 0; j < fresh.length;) {
      if (i < old.length && old[i] === fresh[j]) {
        parts.push([false, fresh[j]]);
        i++;
        j++;
      } else if (i < old.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
      else parts.push([true, fresh[j++]]);
    }
    const runs = [];
    for (const [isNew, part] of parts) {
      if (runs.at(-1)?.isNew === isNew) runs.at(-1).text += part;
      else runs.push({ isNew, text: part });
    }
    return runs.map((run) => (run.isNew ? el("mark", {}, run.text) : run.text));
  }

  core.views.samples = view;
  return { virtual, marked };
})();
