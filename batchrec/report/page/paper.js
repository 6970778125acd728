// Printing: every image that passes the filters, up to a bound, whatever is in sight on the screen.
"use strict";

R.Paper = class {
  static MOST = 500; // images: some 25 pages, and where they are sorted as many packs of thumbnails
  static LOADS = 6; // packs at a time

  /** `rows` gives the rows that pass now. */
  constructor(element, model, thumbs, rows) {
    this.element = element;
    this.model = model;
    this.thumbs = thumbs;
    this.rows = rows;
    this.cells = [];
    this.shown = null; // the rows that the cells are of, and of which language
    addEventListener("beforeprint", () => this._put());
    addEventListener("afterprint", () => this._clear());
  }

  /** Load the pictures that are missing, then print. A browser's own menu prints what has been loaded up to then. */
  async print() {
    if (this.busy) return;
    this.busy = true;
    try {
      this._put();
      await this._load();
      print();
    } finally { this.busy = false; }
  }

  _put() {
    const rows = this.rows(), { language } = R;
    if (this.shown?.rows === rows && this.shown.language === language) return;
    this.shown = { rows, language };
    this.cells = Array.from(rows.subarray(0, R.Paper.MOST), (row) => {
      const cell = new R.Cell(this.model, this.thumbs);
      cell.image.decoding = "sync";
      cell.show(row);
      return cell;
    });
    this.element.classList.toggle("bare", !this.model.meta.side);
    this.element.replaceChildren(...this.cells.map(({ node }) => node));
    document.body.dataset.printed = this.cells.length === rows.length ? R.t("countSame", { images: R.n(rows.length) })
      : R.t("printed", { shown: R.n(this.cells.length), images: R.n(rows.length) });
  }

  async _load() {
    const packs = new Map();
    for (const cell of this.cells) if (cell.waits) {
      const number = this.thumbs.numberOf(cell.place);
      if (!packs.has(number)) packs.set(number, []);
      packs.get(number).push(cell);
    }
    const left = [...packs];
    const work = async () => {
      for (let next = left.pop(); next; next = left.pop()) {
        await this.thumbs.ensure(next[0]);
        for (const cell of next[1]) cell.draw();
      }
    };
    await Promise.all(Array.from({ length: R.Paper.LOADS }, work));
    await Promise.all(this.cells.filter(({ image }) => image.hasAttribute("src")).map(({ image }) => image.decode().catch(() => {})));
  }

  _clear() {
    this.shown = null;
    this.cells = [];
    this.element.replaceChildren();
  }
};
