// Grid of images on one scrollbar: cells are recycled, and heights that browsers clamp are scaled.
"use strict";

R.Thumbs = class {
  // Packs of thumbnails, the last 200 of them kept; of those that are wanted the newest are loaded first.
  constructor(pack) { this.pack = pack; this.kept = new Map(); this.wanted = []; this.under = new Map(); this.onPack = () => {}; }

  numberOf(place) { return Math.floor(place / this.pack); }

  /** [width, height, base64] of a place, or null while its pack is loaded. */
  get(place) {
    const number = this.numberOf(place);
    const pack = this.kept.get(number);
    if (pack === undefined) { this._want(number); return null; }
    this.kept.delete(number);
    this.kept.set(number, pack);
    return pack[place % this.pack] || null;
  }

  /** Resolves when a pack is there. */
  ensure(number) {
    if (this.kept.has(number)) return Promise.resolve();
    if (!this.under.has(number)) {
      this.under.set(number, R.load(`thumbs/${String(number).padStart(5, "0")}`).catch(() => []).then((pack) => {
        this.kept.set(number, pack);
        if (this.kept.size > 200) this.kept.delete(this.kept.keys().next().value);
        this.under.delete(number);
        this.onPack();
      }));
    }
    return this.under.get(number);
  }

  _want(number) {
    const at = this.wanted.indexOf(number);
    if (at >= 0) this.wanted.splice(at, 1);
    this.wanted.push(number);
    if (this.wanted.length > 60) this.wanted.shift();
    this._next();
  }

  _next() {
    while (this.under.size < 6 && this.wanted.length) {
      const number = this.wanted.pop();
      if (!this.kept.has(number) && !this.under.has(number)) this.ensure(number).then(() => this._next());
    }
  }
};

R.Grid = class {
  static MOST = 15_000_000; // px: Firefox collapses elements of more than 17,895,697, Chromium clamps at 33,554,428
  static FREE = 60; // cells out of sight that are kept

  constructor(element, model, thumbs) {
    this.element = element;
    this.model = model;
    this.thumbs = thumbs;
    this.cells = new Map();
    this.free = [];
    this.rows = new Uint32Array(0);
    this.virtual = 0; // px from the top of the first row to the top of the window, unscaled
    this.lastScroll = 0;
    this.focused = 0;
    this.version = 0;
    this.shift = 0;
    this.moved = true; // whether all cells are to be placed anew
    this.isSelected = () => false;
    this.onOpen = this.onSelect = () => {};
    thumbs.onPack = () => this.draw(true);
    addEventListener("scroll", () => this._scrolled(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(element);
    addEventListener("resize", () => this.layout());
  }

  show(rows) {
    this.rows = rows;
    this.version++;
    this.focused = Math.min(this.focused, Math.max(0, rows.length - 1));
    this.layout();
  }

  layout() {
    const style = getComputedStyle(this.element);
    const least = parseFloat(style.getPropertyValue("--cell")), gap = parseFloat(style.getPropertyValue("--gap"));
    const width = this.element.clientWidth;
    this.columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    this.cellWidth = (width + gap) / this.columns - gap;
    this.picture = this.model.meta.side ? Math.round(Math.min(180, this.cellWidth * 0.8)) : 0;
    this.cellHeight = this.picture + parseFloat(style.getPropertyValue("--words"));
    this.gap = gap;
    this.rowHeight = this.cellHeight + gap;
    this.lines = Math.ceil(this.rows.length / this.columns);
    this.height = Math.max(0, this.lines * this.rowHeight - gap);
    this.drawn = Math.min(this.height, R.Grid.MOST);
    this.element.style.height = `${this.drawn}px`;
    this.top = this.element.getBoundingClientRect().top + scrollY;
    this.virtual = this._mapped();
    this.moved = true;
    this.draw();
  }

  get _scaled() { return this.height > this.drawn; }

  _position() { return Math.max(0, scrollY - this.top); }

  /** The scaled place of the window as an unscaled one. */
  _mapped() {
    const most = Math.max(1, this.drawn - innerHeight);
    return this._scaled ? Math.min(1, this._position() / most) * (this.height - innerHeight) : this._position();
  }

  _scrolled() {
    const position = this._position(), moved = position - this.lastScroll;
    this.lastScroll = position;
    const atEnd = position <= 0 || scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
    if (this._scaled && Math.abs(moved) < 2 * innerHeight && !atEnd) {
      // A wheel or a key moves as many pixels as it would unscaled; the scrollbar follows when it rests.
      this.virtual = Math.max(0, Math.min(this.height - innerHeight, this.virtual + moved));
      clearTimeout(this.rest);
      this.rest = setTimeout(() => this._follow(), 150);
    } else this.virtual = this._mapped();
    this.draw();
  }

  _follow() {
    const share = this.virtual / Math.max(1, this.height - innerHeight);
    const position = Math.max(1, share * (this.drawn - innerHeight));
    this.lastScroll = position;
    scrollTo(0, this.top + position);
    this.lastScroll = this._position();
  }

  draw(refresh = false) {
    if (this.frame) { this.refresh ||= refresh; return; }
    this.refresh = refresh;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this._draw(); });
  }

  /** Place and fill the cells in sight. Those that are in sight already are left alone, and those out of it keep their
   * nodes where they stand until they are needed: a frame of slow scrolling touches nothing. */
  _draw() {
    const shift = this._position() - this.virtual; // of unscaled places on the scaled element
    const above = Math.max(0, this.top - scrollY);
    const from = Math.max(0, Math.floor(this.virtual / this.rowHeight) - 1);
    const to = Math.min(this.lines, Math.ceil((this.virtual + innerHeight - above) / this.rowHeight) + 1);
    const first = from * this.columns, last = Math.min(this.rows.length, to * this.columns);
    const all = this.moved || Math.abs(shift - this.shift) >= 1;
    if (all) { // the nodes out of sight stand at places that may have come into it
      this.shift = shift;
      this.moved = false;
      for (const cell of this.free) cell.node.remove();
    }
    for (const [index, cell] of this.cells) {
      if (index < first || index >= last) { this.cells.delete(index); this.free.push(cell); }
    }
    for (let index = first; index < last; index++) {
      let cell = this.cells.get(index);
      const recycled = !cell;
      if (recycled) {
        cell = this.free.shift() || this._make();
        this.cells.set(index, cell);
      }
      if (all || recycled) this._place(cell, index);
      if (recycled || cell.version !== this.version) this._fill(cell, index);
      else if (this.refresh && cell.waits) cell.draw();
    }
    if (all) for (const cell of this.free) cell.node.remove();
    for (const cell of this.free.splice(R.Grid.FREE)) cell.node.remove();
    this.refresh = false;
  }

  _make() {
    const cell = new R.Cell(this.model, this.thumbs);
    cell.onOpen = () => { this.focus(cell.index, false); this.onOpen(cell.index); };
    cell.onTick = (range) => { this.focus(cell.index, false); this.onSelect(cell.index, range); };
    return cell;
  }

  _place(cell, index) {
    const x = (index % this.columns) * (this.cellWidth + this.gap);
    const y = Math.floor(index / this.columns) * this.rowHeight + this.shift;
    const { style } = cell.node;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${this.cellWidth}px`;
    style.height = `${this.cellHeight}px`;
    cell.frame.style.height = `${this.picture}px`;
    if (!cell.node.isConnected) this.element.append(cell.node);
  }

  _fill(cell, index) {
    cell.index = index;
    cell.version = this.version;
    cell.show(this.rows[index]);
    this._mark(cell);
  }

  _mark(cell) {
    cell.mark(this.isSelected(cell.row), cell.index === this.focused && document.activeElement === this.element);
  }

  /** Mark cells anew, after the selection or the focus has changed. */
  mark() { for (const cell of this.cells.values()) this._mark(cell); }

  // -- keyboard

  focus(index, scroll = true) {
    if (!this.rows.length) return;
    this.focused = Math.max(0, Math.min(this.rows.length - 1, index));
    if (scroll) this.reveal(this.focused);
    this.element.focus({ preventScroll: true });
    this.mark();
  }

  reveal(index) {
    const head = document.getElementById("bar").offsetHeight + 12;
    const y = Math.floor(index / this.columns) * this.rowHeight;
    let target = this.virtual;
    if (y < this.virtual + head) target = y - head;
    else if (y + this.cellHeight > this.virtual + innerHeight) target = y + this.cellHeight - innerHeight + 12;
    else return;
    if (!this._scaled) { scrollTo(0, this.top + target); return; }
    this.virtual = Math.max(0, Math.min(this.height - innerHeight, target));
    this._follow();
    this.draw();
  }
};
