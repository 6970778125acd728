// The page: loads the data, and joins filters, grid, lightbox, charts, selection, keyboard and address.
"use strict";

{
  const $ = (id) => document.getElementById(id);
  const SORTS = ["name", "score", "scoreUp", "margin", "time", "timeUp"];
  const FEW = 2_000; // rows of which charts are drawn with every change at once
  let model, grid, facets, lightbox, figures, paper;
  const selected = new Set(); // rows
  const imagesSelected = new Set();
  let anchor = 0, boxes = true, later = 0, results = 0;

  // -- language and theme

  const setLanguage = (language) => {
    R.language = language;
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  };

  const setTheme = (theme) => {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = R.t("theme", { what: R.t(theme) });
  };

  const firstLanguage = (meta) => R.kept.get("language")
    || (meta.language === "zh" || navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

  // -- texts that stand still

  const drawTexts = () => {
    const { meta } = model;
    document.title = `${meta.job} · batchrec`;
    $("job").replaceChildren(R.bdi(meta.job));
    const finished = meta.state.finished_at && new Date(meta.state.finished_at);
    $("about").textContent = R.t("about", { endpoint: meta.endpoint.replace(/^https?:\/\//, ""), version: meta.version,
      when: finished ? finished.toLocaleString(R.language === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" }) : "–" });
    $("search").placeholder = R.t("search");
    $("search").setAttribute("aria-label", R.t("search"));
    $("sort-word").textContent = R.t("sort");
    $("sort").replaceChildren(...SORTS.map((each) => R.el("option", { value: each, textContent: R.t(each) })));
    $("sort").value = model.filter.sort;
    $("facets-switch").textContent = R.t("filters");
    $("boxes").textContent = R.t("boxes");
    $("boxes").hidden = !model.anyBox;
    $("language").textContent = R.t("language");
    $("figures-switch").textContent = R.t("figures");
    $("select-all").textContent = R.t("selectAll");
    $("select-none").textContent = R.t("selectNone");
    setTheme(document.documentElement.dataset.theme);
    drawTiles();
    drawNotice();
  };

  const drawTiles = () => {
    const { counts, calls, cost } = model.meta;
    const total = Object.values(calls).reduce((sum, each) => sum + each, 0);
    const tile = (word, value, name = "") =>
      R.el("div", { class: `tile ${name}` }, R.el("strong", { textContent: value }), R.el("span", { textContent: R.t(word) }));
    $("tiles").replaceChildren(...[
      tile("images", R.n(counts.images)),
      tile("results", R.n(counts.answered)),
      tile("failed", R.n(counts.failed), counts.failed ? "bad" : ""),
      counts.remaining ? tile("remaining", R.n(counts.remaining)) : null,
      counts.duplicates ? tile("duplicates", R.n(counts.duplicates)) : null,
      counts.ignored ? tile("ignored", R.n(counts.ignored)) : null,
      tile("calls", R.n(total)),
      cost === null ? null : tile("cost", R.t("yuan", { n: cost.toFixed(2) })),
    ].filter(Boolean));
  };

  const drawNotice = () => {
    const { meta } = model, said = [];
    if (meta.running) said.push(R.t("running"));
    if (meta.gone) said.push(R.t("gone", { n: R.n(meta.gone) }));
    if (!meta.counts.answered) said.push(R.t("empty", { why: reasons().join(R.language === "zh" ? "；" : "; ") }));
    $("notice").hidden = !said.length;
    $("notice").textContent = said.join(" ");
  };

  const reasons = () => {
    const { counts, codes, state } = model.meta, found = [];
    if (!counts.images) found.push(R.t("whyNone"));
    if (counts.failed) {
      const by = new Map();
      for (let row = 0; row < model.loaded; row++) if (model.code[row]) by.set(model.code[row], (by.get(model.code[row]) || 0) + 1);
      const [most] = [...by].sort((a, b) => b[1] - a[1])[0] || [0];
      const [code, meaning] = codes[most - 1] || ["?", ""];
      found.push(R.t("whyFailed", { n: R.n(counts.failed), code: meaning ? `${code} (${meaning})` : code }));
    }
    if (counts.remaining) found.push(R.t("whyRemaining", { n: R.n(counts.remaining) }));
    if (state.stopped_by) found.push(R.t("whyStopped", { what: state.stopped_by }));
    return found.length ? found : [R.t("whyNone")];
  };

  // -- the address holds the filter

  const LISTS = {
    step: (at) => model.meta.steps[at].name,
    label: (at) => model.meta.labels[at],
    folder: (at) => model.meta.folders[at][0],
    code: (at) => model.meta.codes[at - 1][0],
  };

  const toHash = () => {
    const { filter: f, comparison } = model, given = new URLSearchParams();
    if (f.text) given.set("q", f.text);
    for (const [name, nameOf] of Object.entries(LISTS)) for (const value of f[name]) given.append(name, nameOf(value));
    for (const value of f.state) given.append("state", value);
    if (f.min > 0) given.set("min", f.min / 100);
    if (f.max < 100) given.set("max", f.max / 100);
    if (!f.top) given.set("labels", "all");
    if (f.sort !== "name") given.set("sort", f.sort);
    if (comparison) {
      given.append("compare", LISTS.step(comparison.x));
      given.append("compare", LISTS.step(comparison.y));
      if (f.pair) given.set("pair", f.pair.kind);
      if (f.pair?.kind === "pair") for (const label of [f.pair.a, f.pair.b]) given.append("of", label < 0 ? "" : LISTS.label(label));
    }
    const text = given.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };

  const fromHash = () => {
    const given = new URLSearchParams(location.hash.slice(1)), f = R.Model.noFilter(), { meta } = model;
    const numbers = {
      step: meta.steps.map(({ name }) => name), label: meta.labels, folder: meta.folders.map(([name]) => name),
      code: ["", ...meta.codes.map(([code]) => code)],
    };
    f.text = given.get("q") || "";
    for (const [name, names] of Object.entries(numbers)) {
      for (const value of given.getAll(name)) { const at = names.indexOf(value); if (at >= 0) f[name].add(at); }
    }
    for (const value of given.getAll("state")) f.state.add(value);
    const share = (name, other) => { const value = Number(given.get(name)); return given.has(name) && value >= 0 && value <= 1 ? Math.round(value * 100) : other; };
    f.min = share("min", 0);
    f.max = share("max", 100);
    f.top = given.get("labels") !== "all";
    if (SORTS.includes(given.get("sort"))) f.sort = given.get("sort");
    const [x, y] = given.getAll("compare").map((name) => numbers.step.indexOf(name));
    model.comparison = null;
    facets.pair = undefined;
    if (x >= 0 && y >= 0 && x !== y) {
      facets.pair = [x, y];
      model.compare(x, y);
      const kind = given.get("pair"), [a, b] = given.getAll("of").map((name) => (name === "" ? -1 : meta.labels.indexOf(name)));
      if (kind === "same" || kind === "different") f.pair = { kind };
      else if (kind === "pair") f.pair = { kind, a, b };
    }
    model.filter = f;
    $("search").value = f.text;
    $("sort").value = f.sort;
  };

  // -- what is shown

  const refresh = () => {
    model.apply();
    const counts = model.counts();
    results = counts.results;
    const rows = model.view();
    anchor = 0;
    grid.show(rows);
    facets.draw(counts);
    toHash();
    drawCount();
    $("nothing").hidden = rows.length > 0 || !model.meta.rows || !model.whole;
    clearTimeout(later);
    if (model.whole) later = setTimeout(() => figures.draw(), model.loaded > FEW ? 300 : 0);
  };

  const changed = () => { if (scrollY > grid.top) scrollTo(0, Math.max(0, grid.top - $("bar").offsetHeight - 16)); refresh(); };

  const drawCount = () => {
    const images = grid.rows.length;
    $("count").textContent = images === results ? R.t("countSame", { images: R.n(images) })
      : R.t("count", { images: R.n(images), results: R.n(results) });
    $("download").textContent = imagesSelected.size ? R.t("downloadSome", { n: R.n(imagesSelected.size) }) : R.t("download");
    $("select-none").hidden = !imagesSelected.size;
  };

  const drawAll = () => {
    drawTexts();
    refresh();
    figures.redraw();
    $("nothing").replaceChildren(R.t("nothing"), " ", R.el("button", { type: "button", textContent: R.t("clear"), onclick: clear }));
  };

  const clear = () => {
    model.filter = { ...R.Model.noFilter(), sort: model.filter.sort };
    $("search").value = "";
    changed();
  };

  // -- selection

  const isSelected = (row) => imagesSelected.has(model.image[row]);

  const put = (row, wanted) => {
    const image = model.image[row];
    if (wanted) { if (!imagesSelected.has(image)) { imagesSelected.add(image); selected.add(row); } }
    else if (imagesSelected.delete(image)) for (const each of model.rowsOf(row)) selected.delete(each);
  };

  const select = (index, range = false) => {
    const wanted = !isSelected(grid.rows[index]);
    const [from, to] = range ? [Math.min(anchor, index), Math.max(anchor, index)] : [index, index];
    for (let at = from; at <= to; at++) put(grid.rows[at], range ? true : wanted);
    anchor = index;
    drawCount();
    grid.mark();
  };

  /** Save the paths of the selected images, or of all that are shown, a line each. */
  const download = () => {
    const rows = imagesSelected.size ? [...selected].sort((a, b) => a - b) : [...grid.rows].sort((a, b) => a - b);
    const parts = [];
    for (let at = 0; at < rows.length; at += 10_000) {
      // A line break in a name would make two paths of it.
      parts.push([...rows.slice(at, at + 10_000)].map((row) => model.keyOf(row).replace(/[\r\n]/g, (char) => (char === "\n" ? "\\n" : "\\r")) + "\n").join(""));
    }
    const link = R.el("a", { href: URL.createObjectURL(new Blob(parts, { type: "text/plain" })), download: `${model.meta.job}-images.txt` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  // -- keyboard

  const KEYS = [["/", "keySearch"], ["← ↑ → ↓", "keyMove"], ["Enter", "keyOpen"], ["Space", "keySelect"], ["B", "keyBoxes"], ["Ctrl P", "keyPrint"], ["Esc", "keyClose"], ["?", "keyHelp"]];

  const showHelp = () => {
    $("help").replaceChildren(R.el("h2", { textContent: R.t("help") }),
      R.el("dl", {}, ...KEYS.flatMap(([key, word]) => [R.el("dt", {}, R.el("kbd", { textContent: key })), R.el("dd", { textContent: R.t(word) })])),
      R.el("button", { type: "button", textContent: R.t("close"), onclick: () => $("help").close() }));
    $("help").showModal();
  };

  const switchBoxes = () => {
    boxes = !boxes;
    $("boxes").setAttribute("aria-pressed", boxes);
    document.body.classList.toggle("no-boxes", !boxes);
  };

  const onKey = (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "p") {
      event.preventDefault();
      paper.print();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches?.("input, select, textarea");
    if (event.key === "Escape" && event.target === $("search")) { $("search").blur(); return; }
    if (typing) return;
    if (event.key.toLowerCase() === "b") { switchBoxes(); return; }
    if (lightbox.open) return;
    if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
    if (event.key === "?") { showHelp(); return; }
    if (event.key === "Escape") { document.body.classList.remove("facets-open"); return; }
    if (event.target !== grid.element && event.target !== document.body) return;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns }[event.key];
    if (step) { event.preventDefault(); grid.focus(document.activeElement === grid.element ? grid.focused + step : grid.focused); }
    else if (event.key === "Home" || event.key === "End") { event.preventDefault(); grid.focus(event.key === "Home" ? 0 : grid.rows.length - 1); }
    else if (document.activeElement !== grid.element || !grid.rows.length) return;
    else if (event.key === "Enter") { event.preventDefault(); open(grid.focused); }
    else if (event.key === " ") { event.preventDefault(); select(grid.focused, event.shiftKey); }
  };

  const open = (index) => lightbox.show(grid.rows, index);

  // -- start

  const join = () => {
    grid.isSelected = lightbox.isSelected = isSelected;
    grid.onOpen = open;
    grid.onSelect = select;
    grid.element.addEventListener("focus", () => grid.mark());
    grid.element.addEventListener("blur", () => grid.mark());
    lightbox.onSelect = (index) => select(index);
    lightbox.onMove = (index) => { grid.focused = index; };
    lightbox.onClose = (index) => { if (index !== undefined) grid.focus(index); };
    facets.onChange = changed;
    figures.onLabel = (label) => { const { label: chosen } = model.filter; chosen.has(label) ? chosen.delete(label) : chosen.add(label); changed(); };
    let typed = 0;
    $("search").oninput = () => { clearTimeout(typed); typed = setTimeout(() => { model.filter.text = $("search").value; changed(); }, model.loaded > 100_000 ? 150 : 40); };
    $("sort").onchange = () => { model.filter.sort = $("sort").value; changed(); };
    $("boxes").onclick = switchBoxes;
    $("select-all").onclick = () => { for (const row of grid.rows) put(row, true); drawCount(); grid.mark(); };
    $("select-none").onclick = () => { selected.clear(); imagesSelected.clear(); drawCount(); grid.mark(); };
    $("download").onclick = download;
    $("facets-switch").onclick = () => document.body.classList.toggle("facets-open");
    $("language").onclick = () => { setLanguage(R.language === "zh" ? "en" : "zh"); R.kept.set("language", R.language); drawAll(); };
    $("theme").onclick = () => {
      const themes = ["auto", "light", "dark"], next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3];
      R.kept.set("theme", next);
      setTheme(next);
      figures.redraw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.redraw());
    $("figures-switch").onclick = () => showFigures($("figures").hidden);
    addEventListener("hashchange", () => { fromHash(); refresh(); });
    addEventListener("keydown", onKey);
  };

  const showFigures = (shown) => {
    $("figures").hidden = !shown;
    $("figures-switch").setAttribute("aria-expanded", shown);
    R.kept.set("figures", shown ? "1" : "0");
    grid.layout();
    figures.draw();
  };

  const broken = (error) => {
    $("notice").hidden = false;
    $("notice").textContent = R.t("broken", { name: error.message });
  };

  const start = async () => {
    const meta = JSON.parse(new TextDecoder().decode(await R.unpack(await R.load("meta"))));
    setLanguage(firstLanguage(meta));
    document.documentElement.dataset.theme = R.kept.get("theme") || "auto";
    model = R.model = new R.Model(meta);
    const thumbs = new R.Thumbs(meta.pack);
    grid = R.grid = new R.Grid($("grid"), model, thumbs);
    paper = new R.Paper($("paper"), model, thumbs, () => grid.rows);
    lightbox = new R.Lightbox($("lightbox"), model, thumbs);
    facets = new R.Facets($("facets"), model);
    figures = new R.Figures($("figures"), model);
    await model.loadAll(() => {
      join();
      const figuresShown = R.kept.get("figures") ?? (innerWidth > 700 ? "1" : "0");
      $("figures").hidden = figuresShown === "0" || !meta.rows;
      $("figures-switch").setAttribute("aria-expanded", !$("figures").hidden);
      fromHash();
      drawAll();
      requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("first")));
    });
    if (meta.rows > meta.chunk) { fromHash(); drawTexts(); refresh(); }
    document.documentElement.dataset.ready = "";
    performance.mark("ready");
  };

  start().catch(broken);
}
