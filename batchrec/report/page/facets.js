// Facets beside the grid: names with counts, the range of scores, and the comparison of two steps.
"use strict";

R.Facets = class {
  static SHOWN = 12; // names of a facet, before the others are asked for
  static MOST = 500; // names of a facet in the page at all; the others are found by typing

  constructor(element, model) {
    this.element = element;
    this.model = model;
    this.onChange = () => {};
    this.wide = new Set();
    this.find = { label: "", folder: "" };
  }

  draw(counts) {
    this.counts = counts;
    const { meta } = this.model;
    const keep = document.activeElement?.id, at = document.activeElement?.selectionStart;
    const parts = [
      meta.steps.length > 1 ? this._names("step", meta.steps.map(({ name }) => name)) : null,
      this._scores(),
      this._names("label", null, true),
      meta.folders.length > 1 ? this._names("folder", meta.folders.map(([name]) => name || R.t("here")), true) : null,
      meta.codes.length ? this._names("code", ["", ...meta.codes.map(([code]) => code)]) : null,
      this._states(),
      meta.steps.length > 1 ? this._comparison() : null,
    ];
    this.element.replaceChildren(...parts.filter(Boolean));
    const again = keep && this.element.querySelector(`#${CSS.escape(keep)}`);
    if (again) { again.focus({ preventScroll: true }); if (at !== undefined && again.type === "search") again.setSelectionRange(at, at); }
  }

  _section(key, ...children) {
    return R.el("section", { class: `facet ${key}` }, R.el("h2", { textContent: R.t(key === "score" ? "scores" : key) }), ...children);
  }

  _option(key, value, name, count, chosen) {
    const box = R.el("input", { type: "checkbox", checked: chosen, id: `facet-${key}-${value}` });
    box.onchange = () => {
      const set = this.model.filter[key];
      box.checked ? set.add(value) : set.delete(value);
      this.onChange();
    };
    return R.el("label", { class: `option${count ? "" : " none"}` }, box, R.bdi(name), R.el("span", { class: "number", textContent: R.n(count) }));
  }

  _names(key, names, searched = false) {
    const { model } = this, counts = this.counts[key], chosen = model.filter[key];
    const nameOf = (value) => (names ? names[value] : model.labelText(value));
    const wanted = searched ? this.find[key].toLowerCase() : "";
    const values = [];
    for (let value = key === "code" ? 1 : 0; value < counts.length; value++) {
      if ((counts[value] || chosen.has(value)) && (!wanted || nameOf(value).toLowerCase().includes(wanted))) values.push(value);
    }
    values.sort((a, b) => chosen.has(b) - chosen.has(a) || counts[b] - counts[a]);
    const most = this.wide.has(key) ? R.Facets.MOST : R.Facets.SHOWN;
    const section = this._section(key);
    if (key === "label") section.append(this._depth());
    if (searched && (counts.length > R.Facets.SHOWN || wanted)) {
      const field = R.el("input", { type: "search", id: `find-${key}`, value: this.find[key], placeholder: R.t("find"), "aria-label": `${R.t("find")}: ${R.t(key)}` });
      field.oninput = () => { this.find[key] = field.value; this.draw(this.counts); };
      section.append(field);
    }
    section.append(...values.slice(0, most).map((value) => this._option(key, value, nameOf(value), counts[value], chosen.has(value))));
    if (values.length > most && !this.wide.has(key)) {
      section.append(R.el("button", { type: "button", class: "more", textContent: R.t("more", { n: R.n(values.length - most) }),
        onclick: () => { this.wide.add(key); this.draw(this.counts); } }));
    }
    return section;
  }

  _depth() {
    const { filter } = this.model;
    const part = (word, top) => R.el("button", { type: "button", textContent: R.t(word), "aria-pressed": filter.top === top,
      onclick: () => { filter.top = top; this.onChange(); } });
    return R.el("div", { class: "segments" }, part("top", true), part("all", false));
  }

  _states() {
    const { state } = this.counts;
    const shown = Object.keys(state).filter((name) => state[name] || this.model.filter.state.has(name));
    return this._section("state", ...shown.map((name) => this._option("state", name, R.t(name), state[name], this.model.filter.state.has(name))));
  }

  _scores() {
    const { filter } = this.model;
    const field = (key, other) => {
      const range = R.el("input", { type: "range", min: 0, max: 100, value: filter[key], id: `score-${key}`, "aria-label": `${R.t("scores")} ${key === "min" ? "≥" : "≤"}` });
      range.oninput = () => {
        filter[key] = Number(range.value);
        if (filter.min > filter.max) filter[other] = filter[key];
        text.textContent = said();
        this.element.querySelector(`#score-${other}`).value = filter[other];
        clearTimeout(this.later);
        this.later = setTimeout(() => this.onChange(), 80);
      };
      return range;
    };
    const said = () => `${(filter.min / 100).toFixed(2)} – ${(filter.max / 100).toFixed(2)}`;
    const text = R.el("output", { class: "range", textContent: said() });
    return this._section("score", R.el("div", { class: "ranges" }, field("min", "max"), field("max", "min")), text);
  }

  _comparison() {
    const { model } = this, { steps } = model.meta, made = model.comparison;
    const choice = (name, value) => {
      const select = R.el("select", { id: `compare-${name}`, "aria-label": `${R.t("compare")} ${name}` },
        R.el("option", { value: -1, textContent: R.t("off") }), ...steps.map((step, at) => R.el("option", { value: at, textContent: step.name })));
      select.value = String(value);
      select.onchange = () => {
        const x = Number(this.element.querySelector("#compare-a").value), y = Number(this.element.querySelector("#compare-b").value);
        model.filter.pair = null;
        this.pair = [x, y];
        if (x >= 0 && y >= 0 && x !== y) model.compare(x, y);
        else model.comparison = null;
        this.onChange();
      };
      return select;
    };
    const [x, y] = this.pair ?? [-1, -1];
    const section = this._section("compare", choice("a", x), choice("b", y));
    if (!made) return section;
    const share = made.both ? made.same / made.both : 0;
    const bar = R.el("div", { class: "agreement", role: "img", "aria-label": `${Math.round(share * 100)} %` });
    bar.style.setProperty("--share", share);
    const pick = (pair, name, count) => {
      const now = model.filter.pair;
      const on = now !== null && now.kind === pair.kind && now.a === pair.a && now.b === pair.b;
      return R.el("button", { type: "button", class: "option", "aria-pressed": on, onclick: () => { model.filter.pair = on ? null : pair; this.onChange(); } },
        ...name, R.el("span", { class: "number", textContent: R.n(count) }));
    };
    section.append(bar, R.el("p", { class: "share", textContent: `${(share * 100).toFixed(1)} %` }),
      pick({ kind: "same" }, [R.t("same")], made.same), pick({ kind: "different" }, [R.t("different")], made.both - made.same));
    if (made.pairs.length) section.append(R.el("h3", { textContent: R.t("confusion") }));
    section.append(...made.pairs.slice(0, R.Facets.SHOWN).map(([a, b, count]) =>
      pick({ kind: "pair", a, b }, [R.el("span", { class: "pair" }, R.bdi(model.labelText(a)), " → ", R.bdi(model.labelText(b)))], count)));
    return section;
  }
};
