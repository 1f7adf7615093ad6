// What every view needs: the data, elements, words, the address, and numbers as texts.
//
// The address after # holds the whole state of the page (view, checkpoints, filters, language), so that a link or the
// back button brings it back; nothing is kept in the browser. A view is a function of that state which returns elements.
"use strict";
globalThis.harness ??= {};

harness.core = (() => {
  // --- data: documents in script files (harness/leaderboard/chunks.py)

  const arriving = new Map();

  /** Return the document `name` of the data folder; it is fetched once. */
  function load(name) {
    if (!arriving.has(name)) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      arriving.set(name, entry);
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onerror = () => entry.reject(new Error(`data/${name}.js is missing`));
      document.head.append(script);
    }
    return arriving.get(name).promise;
  }

  harness.chunk = async (name, packed) => {
    const entry = arriving.get(name);
    try {
      const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      entry.resolve(JSON.parse(await new Response(stream).text()));
    } catch (error) {
      entry.reject(error);
    }
  };

  const PLACES = new Int16Array(128);
  let symbols = 0;
  for (let code = 32; code < 127; code++) if (code !== 34 && code !== 92) PLACES[code] = symbols++;

  /** Return the list that harness.leaderboard.vectors.packed wrote. */
  function unpack({ values, width, places }) {
    const list = new Array(places.length / width);
    for (let i = 0; i < list.length; i++) {
      let place = 0;
      for (let j = width - 1; j >= 0; j--) place = place * symbols + PLACES[places.charCodeAt(i * width + j)];
      list[i] = values[place];
    }
    return list;
  }

  // --- elements

  const SVG = "http://www.w3.org/2000/svg";
  const DRAWN = new Set(["svg", "line", "rect", "circle", "path", "text", "g", "title"]);

  /** Return an element. Attributes that are null or false are left out; those that start with "on" are listeners. */
  function el(name, attributes = {}, ...children) {
    const node = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  /** Return a text with its `names` in bold, and in isolation from the direction of the text around them. */
  const named = (text) => text.split("`").map((part, i) => (i % 2 ? el("b", {}, el("bdi", {}, part)) : part));

  // --- words

  let language = "en";

  /** Return a text of words.js in the page's language, with {parts} filled in. */
  function word(key, parts = {}) {
    const entry = harness.words[key];
    if (!entry) return key;
    return entry[language === "zh" ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  }

  // --- the address

  const state = () => new URLSearchParams(location.hash.slice(1));

  /** Return the address of the present state with `changes`; null removes a key. */
  function address(changes, from = state()) {
    const next = new URLSearchParams(from);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === "") next.delete(key);
      else next.set(key, value);
    }
    return `#${next}`;
  }

  /** Return the address of another view, which keeps the language and the theme only. */
  function elsewhere(changes) {
    const settings = new URLSearchParams();
    for (const key of ["lang", "theme"]) if (state().has(key)) settings.set(key, state().get(key));
    return address(changes, settings);
  }

  const go = (changes) => (location.hash = address(changes));

  /** Change the address without an entry in the history, for what changes with every key. */
  const adjust = (changes) => {
    history.replaceState(null, "", address(changes));
    return draw();
  };

  // --- numbers as texts

  /** Return a number with `digits` decimals, rounded to even where it lies in the middle, as Python does. */
  function fixed(number, digits) {
    const scaled = number * 10 ** digits;
    const isMiddle = Number.isInteger(number * 2 ** (digits + 1)) && Math.abs(scaled % 1) === 0.5; // exactly
    const rounded = isMiddle ? (2 * Math.round(scaled / 2)) / 10 ** digits : number;
    const [whole, rest] = Math.abs(rounded).toFixed(digits).split(".");
    const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest === undefined ? "" : `.${rest}`);
    return (rounded < 0 && /[1-9]/.test(text) ? "−" : "") + text;
  }

  /** Return how many decimals a value of `column` is shown with; `v` is the score that decides it. */
  function decimals(column, v) {
    if (column.fraction) return 1;
    return Math.min(Math.max(3 - (v ? Math.floor(Math.log10(Math.abs(v))) : 0), 0), 4);
  }

  /** Return a difference with its sign: +1.2, −34.4. `difference` is in the unit of the page. */
  function change(difference, column, v) {
    const text = fixed(difference, decimals(column, v));
    return !/[1-9]/.test(text) ? text.replace("−", "") : difference < 0 ? text : `+${text}`;
  }

  /** Return a p-value with up to two digits: 0.034, 3e-9. */
  function probability(p) {
    if (p >= 0.001) return String(Number(p.toPrecision(2)));
    return p ? p.toExponential(0) : "0";
  }

  const count = (number) => fixed(number, 0);

  function bytes(number) {
    if (number >= 2 ** 30) return `${(number / 2 ** 30).toFixed(1)} GiB`;
    return `${(number / 2 ** 20).toFixed(number < 100 * 2 ** 20 ? 1 : 0)} MiB`;
  }

  function duration(seconds) {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const minutes = Math.floor(Math.round(seconds) / 60),
      rest = Math.round(seconds) % 60;
    return minutes < 60 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  // --- small parts of several views

  const unit = (column) =>
    `${column.metric}${column.filter === "none" ? "" : ` (${column.filter})`}${column.fraction ? ", %" : ""} ${column.higher ? "↑" : "↓"}`;

  const average = (column) => (column.average ? word(`mean_${column.average}`, { count: column.members.length }) : "");

  /** Return a select element; `options` are pairs of a value and a label. */
  function select(label, options, chosen, change) {
    const list = options.map(([value, text]) =>
      el("option", { value, selected: String(value) === String(chosen) }, text),
    );
    return el(
      "label",
      { class: "choice" },
      el("span", {}, label),
      el("select", { onchange: (e) => change(e.target.value) }, list),
    );
  }

  const checkpointOptions = () => board.checkpoints.map((checkpoint, i) => [i, checkpoint.label]);

  const nameOf = (i) => el("bdi", { class: "name", title: board.checkpoints[i].label }, board.checkpoints[i].label);

  const linkTo = (i) => el("a", { href: elsewhere({ checkpoint: board.checkpoints[i].id }) }, nameOf(i));

  const byId = (id) => board.checkpoints.findIndex((checkpoint) => checkpoint.id === id);

  /** Return a button that copies what `text` returns, and says so. */
  function copyButton(label, text) {
    const button = el(
      "button",
      {
        type: "button",
        onclick: async () => {
          await navigator.clipboard?.writeText(text()).catch(() => {});
          button.textContent = word("copied");
          setTimeout(() => (button.textContent = label), 1500);
        },
      },
      label,
    );
    return button;
  }

  // --- tables, facts and costs of several views

  /** Return a table in a box that scrolls. */
  const table = (heads, rows, attributes = {}) =>
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": attributes.label ?? heads[0] },
      el(
        "table",
        { class: attributes.class ?? "lines" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            heads.map((text) => el("th", { scope: "col" }, text)),
          ),
        ),
        el("tbody", {}, rows),
      ),
    );

  /** Return pairs of a name and a text as a list of facts. */
  const facts = (entries) =>
    el(
      "dl",
      { class: "facts" },
      entries.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("bdi", {}, text)))),
    );

  /** How each cost of a checkpoint is written. */
  const COSTS = { tokens: count, seconds: duration, speed: count, peak: bytes, bytes, parameters: count };

  // --- drawing

  let board = null;
  const views = {};
  const ORDER = ["compare", "samples", "stages", "tradeoffs", "method"];
  let drawing = 0;

  async function draw() {
    const now = state(),
      turn = ++drawing;
    language = now.get("lang") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.documentElement.dataset.theme = now.get("theme") ?? "";
    const view = [...ORDER, "checkpoint"].find((name) => now.has(name)) ?? "overview";
    drawFrame(view, now);
    const main = document.querySelector("main");
    try {
      const content = await views[view](now, () => turn === drawing);
      if (turn === drawing) main.replaceChildren(...[content].flat());
    } catch (error) {
      if (turn === drawing)
        main.replaceChildren(el("p", { class: "error", role: "alert" }, `${word("failed")} ${error.message}`));
    }
    main.dataset.view = view;
  }

  function drawFrame(view, now) {
    const link = (name, target) =>
      el("a", { href: target, "aria-current": name === view ? "page" : null }, word(`view_${name}`));
    const links = ORDER.filter(
      (name) => name !== "stages" || board.steps.length || board.checkpoints.some((c) => c.training),
    );
    document
      .querySelector("nav")
      .replaceChildren(
        link("overview", elsewhere({})),
        ...links.map((name) => link(name, elsewhere({ [name]: name === "compare" ? harness.compared.usual() : "1" }))),
      );
    document.querySelector("header h1 a").href = elsewhere({});
    document.querySelector(".settings").replaceChildren(
      el(
        "a",
        { href: address({ lang: language === "zh" ? "en" : "zh" }), lang: language === "zh" ? "en" : "zh-CN" },
        language === "zh" ? "English" : "中文",
      ),
      select(
        word("theme"),
        ["", "light", "dark"].map((theme) => [theme, word(`theme_${theme || "auto"}`)]),
        now.get("theme") ?? "",
        (theme) => go({ theme }),
      ),
    );
    for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  }

  addEventListener("DOMContentLoaded", async () => {
    try {
      board = await load(document.body.dataset.board);
      harness.core.board = board;
      addEventListener("hashchange", () => {
        draw();
        scrollTo(0, 0);
      });
      await draw();
    } catch (error) {
      document
        .querySelector("main")
        .replaceChildren(
          el(
            "p",
            { class: "error", role: "alert" },
            `The data cannot be read: ${error.message}. The folder “data” belongs beside this page.`,
          ),
        );
    }
  });

  return {
    load,
    unpack,
    el,
    named,
    word,
    state,
    address,
    elsewhere,
    go,
    adjust,
    draw,
    fixed,
    decimals,
    change,
    probability,
    count,
    bytes,
    duration,
    unit,
    average,
    select,
    checkpointOptions,
    nameOf,
    linkTo,
    byId,
    copyButton,
    table,
    facts,
    COSTS,
    views,
    board: null,
    get language() {
      return language;
    },
  };
})();
