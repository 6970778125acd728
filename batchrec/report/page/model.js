// Data of the report: scripts that are loaded from the folder, columns, filters, counts and orders.
"use strict";

{
  const waiting = new Map();

  window.batchrec = {
    take(name, content) {
      const given = waiting.get(name);
      if (given) given.content = content;
    },
  };

  /** Load `data/NAME.js`; resolves with its content: base64, or the list of a pack of thumbnails. */
  R.load = (name) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const given = { content: undefined };
      waiting.set(name, given);
      const end = () => { waiting.delete(name); script.remove(); };
      script.onload = () => { end(); given.content === undefined ? reject(new Error(name)) : resolve(given.content); };
      script.onerror = () => { end(); reject(new Error(`data/${name}.js`)); };
      script.src = `data/${name}.js`;
      document.head.append(script);
    });

  const bytesOf = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
    return bytes;
  };

  R.unpack = async (text) => {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };
}

R.FLAGS = { failed: 1, repaired: 2, duplicate: 4, cached: 8, tiles: 16, outdated: 32 };
R.NO_SCORE = 65535;
const NAME_OF_CHUNK = (number) => String(number).padStart(5, "0");
const AHEAD = 2; // chunks that are read and unpacked beside one
const [STEP, LABEL, FOLDER, CODE, STATE, SCORE, SEARCH, PAIR] = [1, 2, 4, 8, 16, 32, 64, 128];
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true }); // a name may begin with any character
const TYPES = { I: Uint32Array, H: Uint16Array, B: Uint8Array, i: Int32Array };

R.Model = class {
  constructor(meta) {
    this.meta = meta;
    const n = meta.rows;
    this.loaded = 0;
    for (const [name, kind] of [["image", "I"], ["step", "H"], ["code", "H"], ["flags", "B"], ["time", "I"],
      ["folder", "I"], ["thumb", "I"], ["count", "B"]]) this[name] = new TYPES[kind](n);
    this.first = new Uint32Array(n + 1); // of the labels of a row
    this.label = new Uint32Array(meta.labelCount);
    this.score = new Uint16Array(meta.labelCount);
    this.boxes = []; // by chunk: places of the labels that have one, in order, and four sides each
    this.anyBox = false;
    this.fail = new Uint8Array(n); // by row: bits of the filters that it does not pass
    this.relevant = new Uint16Array(n); // by row: score of the label that is filtered for, else of the first
    this.nameBytes = []; // by chunk
    this.nameStarts = [];
    this.lowered = [];
    this.stamp = new Uint32Array(meta.images);
    this.turn = 0;
    this.orders = new Map();
    this.shownLabels = meta.labels;
    this.loweredLabels = meta.labels.map((name, at) => `${name}\n${meta.roots[at]}`.toLowerCase());
    this.filter = R.Model.noFilter();
  }

  static noFilter() {
    return { step: new Set(), label: new Set(), folder: new Set(), code: new Set(), state: new Set(),
      min: 0, max: 100, top: true, text: "", sort: "name", pair: null };
  }

  get whole() { return this.loaded === this.meta.rows; }

  /** Load all rows, chunk by chunk; calls `onFirst` when the first one is there. While one is unpacked the next ones are
   * read from the disk: no time goes by in which nothing is unpacked. */
  async loadAll(onFirst) {
    const chunks = Math.ceil(this.meta.rows / this.meta.chunk), coming = [];
    for (let number = 0, asked = 0; number < chunks; number++) {
      while (asked < chunks && asked <= number + (number ? AHEAD : 0)) {
        const content = R.load(`rows/${NAME_OF_CHUNK(asked++)}`).then(R.unpack);
        content.catch(() => {}); // it is told of when its turn comes
        coming.push(content);
      }
      this._take(number, await coming.shift());
      if (!number) onFirst();
    }
    if (!chunks) onFirst();
  }

  _take(number, content) {
    const size = new DataView(content).getUint32(0, true);
    const arrays = {};
    for (const [name, kind, place, length] of JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, size)))) {
      const type = TYPES[kind];
      arrays[name] = new type(content, 4 + size + place, length / type.BYTES_PER_ELEMENT);
    }
    const start = this.loaded;
    for (const name of ["image", "step", "code", "flags", "time", "folder", "thumb", "count"]) {
      this[name].set(arrays[name], start);
    }
    const labels = this.first[start];
    this.label.set(arrays.label, labels);
    this.score.set(arrays.score, labels);
    const rows = arrays.image.length;
    for (let row = 0; row < rows; row++) this.first[start + row + 1] = this.first[start + row] + arrays.count[row];
    this.boxes[number] = { start: labels, boxed: arrays.boxed.slice(), box: arrays.box.slice() };
    this.anyBox ||= arrays.boxed.length > 0;
    this.nameBytes[number] = new Uint8Array(arrays.names);
    this.loaded = start + rows;
  }

  // -- names

  /** Where the names of a chunk begin, in bytes. A sorted view asks for names all over: none but these are decoded. */
  _starts(chunk) {
    return (this.nameStarts[chunk] ??= R.Model.starts(this.nameBytes[chunk], this.meta.chunk));
  }

  /** Places after each zero of a list, and of its beginning; the last one is behind a zero that is not there. */
  static starts(bytes, most) {
    const starts = new Uint32Array(most + 1);
    let size = 1;
    for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at + 1)) starts[size++] = at + 1;
    starts[size++] = bytes.length + 1;
    return starts.subarray(0, size);
  }

  nameOf(row) {
    const chunk = Math.floor(row / this.meta.chunk), at = row % this.meta.chunk, starts = this._starts(chunk);
    return DECODER.decode(this.nameBytes[chunk].subarray(starts[at], starts[at + 1] - 1));
  }

  /** The image's key, as results.jsonl has it. */
  keyOf(row) {
    const folder = this.meta.folders[this.folder[row]][0];
    return folder === "" ? this.nameOf(row) : folder === "/" ? `/${this.nameOf(row)}` : `${folder}/${this.nameOf(row)}`;
  }

  isAddress(row) { return this.meta.folders[this.folder[row]][1] === ""; }

  /** The way from this page to the original, percent-encoded. */
  linkOf(row) {
    if (this.isAddress(row)) return this.keyOf(row);
    let name;
    try { name = encodeURIComponent(this.nameOf(row)); } catch { name = ""; }
    return `${this.meta.folders[this.folder[row]][1]}/${name}`;
  }

  /** Rows of the same image; they follow each other. */
  rowsOf(row) {
    const image = this.image[row];
    let from = row, to = row + 1;
    while (from > 0 && this.image[from - 1] === image) from--;
    while (to < this.loaded && this.image[to] === image) to++;
    return Array.from({ length: to - from }, (_, at) => from + at);
  }

  // -- filters

  _matchNames(text, hits) {
    for (let chunk = 0; chunk < this.nameBytes.length; chunk++) {
      if (!this.lowered[chunk]) {
        const lower = DECODER.decode(this.nameBytes[chunk]).toLowerCase();
        const starts = new Uint32Array(Math.min(this.meta.chunk, this.loaded - chunk * this.meta.chunk) + 1);
        let place = 0;
        for (let at = 1; at < starts.length; at++) {
          const end = lower.indexOf("\0", place);
          place = end < 0 ? lower.length + 1 : end + 1;
          starts[at] = place;
        }
        this.lowered[chunk] = { lower, starts };
      }
      const { lower, starts } = this.lowered[chunk];
      const base = chunk * this.meta.chunk;
      let row = 0;
      for (let at = lower.indexOf(text); at >= 0; at = lower.indexOf(text, starts[row])) {
        let low = row, high = starts.length - 1;
        while (high - low > 1) { const middle = (low + high) >> 1; starts[middle] <= at ? (low = middle) : (high = middle); }
        hits[base + low] = 1;
        row = low + 1;
        if (row >= starts.length - 1) break;
      }
    }
  }

  /** Compute `fail` and `relevant` from the filter: a pass over the rows for each part of it that is used. */
  apply() {
    const { filter: f, meta, loaded: n, fail, relevant } = this;
    const text = f.text.trim().toLowerCase();
    fail.fill(0, 0, n);
    if (f.label.size || text) this._seek(text);
    else this._takeFirst();
    this._demand(STEP, this.step, R.Model._chosen(f.step, meta.steps.length));
    this._demand(FOLDER, this.folder, R.Model._chosen(f.folder, meta.folders.length));
    this._demand(CODE, this.code, R.Model._chosen(f.code, meta.codes.length + 1));
    if (f.state.size) {
      const passes = Uint8Array.from({ length: 128 }, (_, kind) => R.Model._statesOf(kind).some((state) => f.state.has(state)));
      for (let row = 0; row < n; row++) if (!passes[this._kind(row)]) fail[row] |= STATE;
    }
    if (f.min > 0 || f.max < 100) {
      const low = Math.round(f.min * meta.scores / 100), high = Math.round(f.max * meta.scores / 100);
      for (let row = 0; row < n; row++) {
        const score = relevant[row];
        if (score === R.NO_SCORE || score < low || score > high) fail[row] |= SCORE;
      }
    }
    if (f.pair) for (let row = 0; row < n; row++) if (!this._inPair(row)) fail[row] |= PAIR;
    this.orders.delete("score");
  }

  static _chosen(set, size) {
    const chosen = new Uint8Array(size);
    for (const each of set) chosen[each] = 1;
    return set.size ? chosen : null;
  }

  /** Rows whose value in a column is not among the chosen ones fail. */
  _demand(bit, column, chosen) {
    if (!chosen) return;
    const { fail, loaded: n } = this;
    for (let row = 0; row < n; row++) if (!chosen[column[row]]) fail[row] |= bit;
  }

  _takeFirst() {
    const { loaded: n, relevant, first, count, score } = this;
    for (let row = 0; row < n; row++) relevant[row] = count[row] ? score[first[row]] : R.NO_SCORE;
  }

  /** Chosen labels, and the text in labels, names and folders; `text` is trimmed and lower. */
  _seek(text) {
    const { filter: f, meta, loaded: n, fail, relevant, first, label, score, folder } = this;
    const wanted = new Uint8Array(meta.labels.length); // 1: chosen; 2: found by the search
    for (const each of f.label) wanted[each] |= 1;
    const names = new Uint8Array(text ? n : 0), folders = new Uint8Array(meta.folders.length);
    if (text) {
      this.loweredLabels.forEach((each, at) => { if (each.includes(text)) wanted[at] |= 2; });
      this._matchNames(text, names);
      meta.folders.forEach(([each], at) => { if (each.toLowerCase().includes(text)) folders[at] = 1; });
    }
    const byLabel = f.label.size > 0, decisive = byLabel ? 1 : 2, { top } = f;
    for (let row = 0, start = 0; row < n; row++) {
      const end = first[row + 1], limit = top && start < end ? start + 1 : end;
      let bits = 0, best = start < end ? score[start] : R.NO_SCORE, found = 0;
      for (let at = start; at < limit; at++) {
        const hit = wanted[label[at]];
        if (hit & decisive & ~found) best = score[at];
        found |= hit;
      }
      if (byLabel && !(found & 1)) bits = LABEL;
      if (text && !(found & 2) && !names[row] && !folders[folder[row]]) bits |= SEARCH;
      fail[row] = bits;
      relevant[row] = best;
      start = end;
    }
  }

  /** The flags of a row, and 64 where it has labels. */
  _kind(row) { return this.flags[row] | (this.count[row] ? 64 : 0); }

  static _statesOf(kind) {
    const states = [kind & R.FLAGS.failed ? "isFailed" : kind & 64 ? "answered" : "noLabel"];
    for (const name of ["repaired", "duplicate", "cached", "tiles", "outdated"]) if (kind & R.FLAGS[name]) states.push(name);
    return states;
  }

  statesOf(row) { return R.Model._statesOf(this._kind(row)); }

  /** Counts of every facet over the rows that pass all other filters. */
  counts() {
    const { fail, meta, loaded: n, filter: f, first, count, flags, label: labels } = this;
    const { step: stepOf, folder: folderOf, code: codeOf } = this;
    const step = new Uint32Array(meta.steps.length), folder = new Uint32Array(meta.folders.length);
    const code = new Uint32Array(meta.codes.length + 1), label = new Uint32Array(meta.labels.length);
    const kinds = new Uint32Array(128), { top } = f;
    const besideLabel = ~(f.label.size ? LABEL | SCORE : LABEL);
    let results = 0;
    for (let row = 0; row < n; row++) {
      const bits = fail[row];
      if (!bits) results++;
      if (!(bits & ~STEP)) step[stepOf[row]]++;
      if (!(bits & ~FOLDER)) folder[folderOf[row]]++;
      if (!(bits & ~CODE)) code[codeOf[row]]++;
      if (!(bits & ~STATE)) kinds[flags[row] | (count[row] ? 64 : 0)]++;
      if (!(bits & besideLabel)) {
        const start = first[row], end = top && count[row] ? start + 1 : first[row + 1];
        for (let at = start; at < end; at++) label[labels[at]]++;
      }
    }
    const state = { answered: 0, noLabel: 0, isFailed: 0, repaired: 0, duplicate: 0, cached: 0, tiles: 0, outdated: 0 };
    kinds.forEach((count, kind) => { if (count) for (const name of R.Model._statesOf(kind)) state[name] += count; });
    return { results, step, folder, code, label, state };
  }

  // -- orders

  /** Rows by a key of 16 or 32 bits, small ones first; equal ones stay in the order of their names. */
  _sorted(key, wide) {
    const n = this.loaded;
    let order = null;
    for (let shift = 0; shift < (wide ? 32 : 16); shift += 16) {
      const places = new Uint32Array(65537), next = new Uint32Array(n);
      for (let row = 0; row < n; row++) places[((key[row] >>> shift) & 65535) + 1]++;
      for (let at = 0; at < 65536; at++) places[at + 1] += places[at];
      if (order) for (let at = 0; at < n; at++) { const row = order[at]; next[places[(key[row] >>> shift) & 65535]++] = row; }
      else for (let row = 0; row < n; row++) next[places[(key[row] >>> shift) & 65535]++] = row;
      order = next;
    }
    return order;
  }

  _order(name) {
    if (!this.whole) return name === "score" ? this._sorted(this.relevant, false) : this._makeOrder(name);
    if (!this.orders.has(name)) this.orders.set(name, this._makeOrder(name));
    return this.orders.get(name);
  }

  _makeOrder(name) {
    if (name === "score") return this._sorted(this.relevant, false);
    if (name === "time") return this._sorted(this.time, true);
    const { loaded: n, first, count, score } = this, margins = new Uint16Array(n);
    for (let row = 0; row < n; row++) {
      const at = first[row], best = count[row] ? score[at] : R.NO_SCORE;
      const second = count[row] > 1 && score[at + 1] !== R.NO_SCORE ? score[at + 1] : 0;
      margins[row] = best === R.NO_SCORE ? R.NO_SCORE : Math.max(0, best - second);
    }
    return this._sorted(margins, false);
  }

    /** The rows to show, one an image. `results` is the number of rows that pass. */
  view() {
    const { sort } = this.filter;
    const [name, up] = { name: ["", true], score: ["score", false], scoreUp: ["score", true], time: ["time", false],
      timeUp: ["time", true], margin: ["margin", true] }[sort];
    const order = name ? this._order(name) : null;
    const n = this.loaded, rows = new Uint32Array(Math.min(n, this.meta.images)), turn = ++this.turn;
    const { fail, stamp, image } = this;
    let size = 0;
    const pick = (row) => {
      if (fail[row] || stamp[image[row]] === turn) return;
      stamp[image[row]] = turn;
      rows[size++] = row;
    };
    if (!order) size = this._inOrder(rows);
    else if (up) for (let at = 0; at < n; at++) pick(order[at]);
    else {
      // Rows without a score are last in the order, and stay last when it is turned round.
      let tail = n;
      if (name === "score") while (tail > 0 && this.relevant[order[tail - 1]] === R.NO_SCORE) tail--;
      for (let at = tail - 1; at >= 0; at--) pick(order[at]);
      for (let at = tail; at < n; at++) pick(order[at]);
    }
    return rows.slice(0, size);
  }

  /** The rows to show in the order of the names, where those of an image follow each other; gives their number. */
  _inOrder(rows) {
    const { fail, image, loaded: n } = this;
    let size = 0, before = -1;
    for (let row = 0; row < n; row++) {
      if (fail[row] || image[row] === before) continue;
      before = image[row];
      rows[size++] = row;
    }
    return size;
  }

  // -- comparison of two steps

  compare(x, y) {
    const n = this.meta.images;
    const tops = [x, y].map((step) => {
      const top = new Int32Array(n).fill(-2); // -2: no result; -1: without a label
      for (let row = 0; row < this.loaded; row++) {
        if (this.step[row] === step && !(this.flags[row] & R.FLAGS.failed)) {
          top[this.image[row]] = this.count[row] ? this.label[this.first[row]] : -1;
        }
      }
      return top;
    });
    const pairs = new Map();
    let same = 0, both = 0;
    for (let image = 0; image < n; image++) {
      const [a, b] = [tops[0][image], tops[1][image]];
      if (a === -2 || b === -2) continue;
      both++;
      if (a === b) { same++; continue; }
      const key = `${a},${b}`;
      pairs.set(key, (pairs.get(key) || 0) + 1);
    }
    const list = [...pairs].sort((one, two) => two[1] - one[1])
      .map(([key, count]) => [...key.split(",").map(Number), count]);
    this.comparison = { x, y, tops, both, same, pairs: list };
    return this.comparison;
  }

  /** Whether a row is of the steps that are compared, and its image as the filter wants it. */
  _inPair(row) {
    const { pair } = this.filter, { x, y, tops } = this.comparison;
    if (this.step[row] !== x && this.step[row] !== y) return false;
    const a = tops[0][this.image[row]], b = tops[1][this.image[row]];
    if (a === -2 || b === -2) return false;
    if (pair.kind === "same") return a === b;
    if (pair.kind === "different") return a !== b;
    return a === pair.a && b === pair.b;
  }

  // -- one row

  labelText(number) { return number < 0 ? `(${R.t("none")})` : this.meta.labels[number] || R.t("mainSubject"); }

  scoreText(score) { return score === R.NO_SCORE ? "" : (score / this.meta.scores).toFixed(2); }

  /** The box of the label at a place, or null. */
  _boxOf(row, place) {
    const { start, boxed, box } = this.boxes[Math.floor(row / this.meta.chunk)];
    let low = 0, high = boxed.length;
    while (low < high) { const middle = (low + high) >> 1; boxed[middle] < place - start ? (low = middle + 1) : (high = middle); }
    return boxed[low] === place - start ? box.subarray(4 * low, 4 * low + 4) : null;
  }

  labelsOf(row) {
    const found = [];
    for (let at = this.first[row]; at < this.first[row + 1]; at++) {
      found.push({ name: this.labelText(this.label[at]), root: this.meta.roots[this.label[at]], score: this.score[at],
        box: this._boxOf(row, at) });
    }
    return found;
  }

  codeOf(row) { return this.code[row] ? this.meta.codes[this.code[row] - 1] : null; }

  /** The row's line of results.jsonl or failures.jsonl, untouched. */
  async lineOf(row) {
    const number = Math.floor(row / this.meta.full);
    if (this.lastLines?.number !== number) {
      const content = await R.unpack(await R.load(`full/${NAME_OF_CHUNK(number)}`));
      this.lastLines = { number, lines: new TextDecoder().decode(content).split("\n") };
    }
    return this.lastLines.lines[row % this.meta.full];
  }
};
