// One image: the original with its boxes, the results of every step, and the full result as JSON.
"use strict";

/** JSON with line breaks; numbers stay the digits they are, also those of 19. */
R.prettyJson = (text) => {
  const parts = [];
  let depth = 0, at = 0;
  const newline = () => parts.push("\n" + "  ".repeat(depth));
  while (at < text.length) {
    const char = text[at];
    if (char === '"') {
      let end = at + 1;
      while (text[end] !== '"' && end < text.length) end += text[end] === "\\" ? 2 : 1;
      parts.push(text.slice(at, end + 1));
      at = end + 1;
      continue;
    }
    if (char === "{" || char === "[") {
      parts.push(char);
      if (text[at + 1] === "}" || text[at + 1] === "]") { parts.push(text[at + 1]); at += 2; continue; }
      depth++;
      newline();
    } else if (char === "}" || char === "]") { depth--; newline(); parts.push(char); }
    else if (char === ",") { parts.push(char); newline(); }
    else if (char === ":") parts.push(": ");
    else parts.push(char);
    at++;
  }
  return parts.join("");
};

R.Lightbox = class {
  constructor(dialog, model, thumbs) {
    this.dialog = dialog;
    this.model = model;
    this.thumbs = thumbs;
    this.rows = [];
    this.isSelected = () => false;
    this.onSelect = this.onMove = this.onClose = () => {};
    dialog.addEventListener("close", () => {
      if (dialog.open) return; // the event comes later than the closing, and the next image may be there
      this.turn = null;
      dialog.replaceChildren();
      this.onClose(this.index);
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => this._key(event));
  }

  get open() { return this.dialog.open; }

  show(rows, index) {
    this.rows = rows;
    if (!this.dialog.open) this.dialog.showModal();
    this._go(index);
  }

  _key(event) {
    if (event.target.matches?.("select, input")) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step && !event.target.closest?.("pre")) { event.preventDefault(); this._go(this.index + step); }
    else if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") {
      event.preventDefault();
      this.onSelect(this.index);
      this._tick();
    }
  }

  _go(index) {
    if (index < 0 || index >= this.rows.length) return;
    this.index = index;
    const row = this.rows[index];
    const turn = (this.turn = {});
    const picture = R.el("div", { class: "stage" });
    const button = (name, sign, act, disabled = false) =>
      R.el("button", { type: "button", class: name, textContent: sign, onclick: act, disabled, "aria-label": R.t(name), title: R.t(name) });
    const panel = R.el("div", { class: "panel" }, ...this._panel(row, turn));
    this.dialog.replaceChildren(
      R.el("div", { class: "sheet" },
        R.el("div", { class: "left" }, picture,
          button("previous", "‹", () => this._go(this.index - 1), index === 0),
          button("next", "›", () => this._go(this.index + 1), index === this.rows.length - 1)),
        panel, button("close", "×", () => this.dialog.close())));
    this._tick();
    this._picture(picture, row, turn);
    this.dialog.focus();
    this.onMove(index);
  }

  _tick() {
    const tick = this.dialog.querySelector(".choose");
    const selected = this.isSelected(this.rows[this.index]);
    tick.setAttribute("aria-pressed", selected);
    tick.textContent = selected ? R.t("selected") : R.t("select");
  }

  _picture(stage, row, turn) {
    const { model } = this;
    const place = model.thumb[row];
    const labels = model.rowsOf(row).filter((each) => !model.fail[each]).flatMap((each) => model.labelsOf(each));
    const put = (image, width, height) => {
      if (this.turn !== turn) return;
      const holder = R.el("div", { class: "holder" }, image);
      holder.style.aspectRatio = `${width} / ${height}`;
      holder.style.setProperty("--ratio", width / height);
      holder.style.setProperty("--width", `${Math.max(width, 320)}px`);
      if (labels.some(({ box }) => box)) holder.append(R.boxesOver(labels, width, height, "none"));
      stage.replaceChildren(holder);
      if (stage.note) stage.append(R.el("p", { class: "moved" }, stage.note));
    };
    const small = () => {
      const thumb = place ? this.thumbs.get(place - 1) : null;
      if (!thumb) return false;
      const image = R.el("img", { alt: model.nameOf(row), class: "small" });
      image.src = `data:image/jpeg;base64,${thumb[2]}`;
      put(image, thumb[0], thumb[1]);
      return true;
    };
    const note = (text) => { stage.note = text; if (!small()) stage.replaceChildren(R.el("p", { class: "moved" }, text)); };
    if (model.isAddress(row)) { note(R.t("remote")); return; }
    small();
    const original = new Image();
    original.alt = model.nameOf(row);
    original.onload = () => put(original, original.naturalWidth, original.naturalHeight);
    original.onerror = () => {
      if (this.turn === turn) note(R.t(/\.(heic|heif|tiff?|jp2)$/i.test(model.nameOf(row)) ? "undisplayed" : "moved", { path: this._path(row) }));
    };
    original.src = model.linkOf(row);
  }

  _path(row) {
    const key = this.model.keyOf(row);
    return key.startsWith("/") || this.model.isAddress(row) ? key : `${this.model.meta.base}/${key}`;
  }

  _panel(row, turn) {
    const { model } = this;
    const key = model.keyOf(row);
    const safe = /^(https?:|file:|\.|[^:]*$|[^:]*\/)/i.test(model.linkOf(row));
    const link = safe ? R.el("a", { href: model.linkOf(row), target: "_blank", rel: "noreferrer noopener", textContent: R.t("open") }) : null;
    const choose = R.el("button", { type: "button", class: "choose", onclick: () => { this.onSelect(this.index); this._tick(); } });
    return [
      R.el("p", { class: "place" }, `${R.n(this.index + 1)} / ${R.n(this.rows.length)}`),
      R.el("h2", {}, R.bdi(model.nameOf(row))),
      R.el("p", { class: "path" }, R.bdi(key)),
      R.el("p", { class: "acts" }, choose, link),
      // Results that pass the filters come first.
      ...model.rowsOf(row).sort((a, b) => (model.fail[a] !== 0) - (model.fail[b] !== 0)).map((each) => this._result(each, turn)),
    ];
  }

  _result(row, turn) {
    const { model } = this, step = model.meta.steps[model.step[row]], code = model.codeOf(row);
    const section = R.el("section", { class: "result" }, R.el("h3", {}, R.bdi(step.name)));
    const states = model.statesOf(row).filter((state) => state !== "answered" && state !== "noLabel");
    if (states.length) section.append(R.el("p", { class: "chips" }, ...states.map((state) => R.el("span", { class: `chip ${state}`, textContent: R.t(state) }))));
    if (code) section.append(R.el("p", { class: "problem" }, R.bdi(code[0]), code[1] ? ` · ${code[1]}` : ""));
    const labels = model.labelsOf(row);
    if (!code && !labels.length) section.append(R.el("p", { class: "quiet", textContent: R.t("noResult") }));
    labels.forEach(({ name, root, score, box }, at) => {
      const line = R.el("div", { class: `label${box ? ` tone${at % 6}` : ""}` }, R.el("span", { class: "text" }, R.bdi(name), root ? R.bdi(root, { className: "root" }) : null),
        R.el("span", { class: "score", textContent: model.scoreText(score) }));
      line.style.setProperty("--score", score === R.NO_SCORE ? 0 : score / model.meta.scores);
      section.append(line);
    });
    if (model.time[row]) {
      const when = new Date(model.time[row] * 1000);
      section.append(R.el("p", { class: "quiet", textContent: when.toLocaleString(R.language === "zh" ? "zh-CN" : "en-GB") }));
    }
    const full = R.el("details", {}, R.el("summary", { textContent: R.t("full") }));
    full.ontoggle = async () => {
      if (!full.open || full.querySelector("pre")) return;
      const pre = R.el("pre", { tabIndex: 0, textContent: R.t("loading") });
      full.append(pre);
      let line;
      try { line = await model.lineOf(row); } catch (error) { pre.textContent = R.t("broken", { name: error.message }); return; }
      if (this.turn !== turn) return;
      pre.textContent = R.prettyJson(line);
      const copy = R.el("button", { type: "button", class: "copy", textContent: R.t("copy") });
      copy.onclick = () => navigator.clipboard?.writeText(line).then(() => { copy.textContent = R.t("copied"); }, () => {});
      full.append(copy);
    };
    section.append(full);
    return section;
  }
};
