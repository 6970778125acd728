// One image in the grid or on paper: its picture with boxes, its first labels, its name.
"use strict";

R.boxesOver = (labels, width, height, slice) => {
  const svg = R.svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: slice, class: "boxes", "aria-hidden": "true" });
  labels.forEach(({ box }, at) => {
    if (box) svg.append(R.svg("rect", { x: box[0], y: box[1], width: box[2], height: box[3], class: `box tone${at % 6}` }));
  });
  return svg;
};

R.Cell = class {
  static LINES = 2; // of labels

  constructor(model, thumbs) {
    this.model = model;
    this.thumbs = thumbs;
    this.row = this.index = this.version = -1;
    this.waits = false; // for a pack of thumbnails
    this.onOpen = this.onTick = () => {};
    this.image = R.el("img", { decoding: "async", draggable: false });
    this.frame = R.el("div", { class: "frame" }, this.image);
    this.tick = R.el("button", { type: "button", class: "tick", tabIndex: -1 });
    this.lines = Array.from({ length: R.Cell.LINES }, () => {
      const [what, score] = [R.bdi(""), R.bdi("", { className: "score" })];
      return { node: R.el("div", { class: "line" }, what, score), what, score };
    });
    this.name = R.bdi("");
    this.words = R.el("div", { class: "words" }, ...this.lines.map(({ node }) => node), R.el("div", { class: "name" }, this.name));
    this.node = R.el("div", { class: "cell", role: "listitem" }, this.frame, this.tick, this.words);
    this.frame.onclick = this.words.onclick = () => this.onOpen();
    this.tick.onclick = (event) => this.onTick(event.shiftKey);
  }

  /** Show the image of a row. Its elements are kept, and only texts that differ are written. */
  show(row) {
    const { model } = this, name = model.nameOf(row);
    this.row = row;
    this.place = model.thumb[row] - 1; // of its thumbnail; -1: none
    this.passing = model.rowsOf(row).filter((each) => !model.fail[each]);
    this.image.alt = name;
    this.node.title = model.keyOf(row);
    this.tick.setAttribute("aria-label", R.t("select"));
    R.Cell._write(this.name, name);
    const found = this._found();
    this.lines.forEach(({ node, what, score }, at) => {
      const [kind, text, more] = found[at] || ["unused", "", ""];
      node.className = `line ${kind}`;
      R.Cell._write(what, text);
      R.Cell._write(score, more);
    });
    this.draw();
  }

  static _write(node, text) { if (node.textContent !== text) node.textContent = text; }

  /** What the lines say: kind, text, and score or code. */
  _found() {
    const { model } = this;
    // The first label of every result that passes, then further ones of the first result; none twice.
    const rows = this.passing.length ? this.passing : [this.row], seen = new Set();
    const lines = rows.map((each) => model.codeOf(each)).filter(Boolean).map(([code]) => ["failed", R.t("isFailed"), code]);
    const labels = [...rows.map((each) => model.labelsOf(each)[0]), ...model.labelsOf(rows[0])].filter(Boolean);
    for (const { name, score } of labels) {
      if (lines.length >= R.Cell.LINES) break;
      if (!seen.has(name)) lines.push(["", name, model.scoreText(score)]);
      seen.add(name);
    }
    return lines.length ? lines : [["none", R.t("noResult"), ""]];
  }

  mark(selected, focused) {
    this.node.classList.toggle("selected", selected);
    this.node.classList.toggle("focused", focused);
    this.tick.setAttribute("aria-pressed", selected);
  }

  /** Draw the picture, where its pack is there. */
  draw() {
    const { model, place } = this, thumb = place < 0 ? null : this.thumbs.get(place);
    this.waits = place >= 0 && !thumb;
    this.frame.classList.toggle("empty", !thumb);
    this.frame.querySelector("svg")?.remove();
    if (!thumb) { this.image.removeAttribute("src"); return; }
    this.image.src = `data:image/jpeg;base64,${thumb[2]}`;
    const labels = this.passing.flatMap((row) => model.labelsOf(row));
    if (labels.some(({ box }) => box)) this.frame.append(R.boxesOver(labels, thumb[0], thumb[1], "xMidYMid meet"));
  }
};
