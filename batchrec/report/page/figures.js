// Charts over the images that pass the filters. The library is loaded when they are shown first.
"use strict";

R.Figures = class {
  constructor(section, model) {
    this.section = section;
    this.model = model;
    this.charts = new Map();
    this.onLabel = () => {};
    new ResizeObserver(() => this.charts.forEach((chart) => chart.resize())).observe(section);
  }

  static _library() {
    return (R.Figures.loaded ??= new Promise((resolve, reject) => {
      const script = R.el("script", { src: "charts.js" });
      script.onload = resolve;
      script.onerror = () => reject(new Error("charts.js"));
      document.head.append(script);
    }));
  }

  async draw() {
    if (this.section.hidden) return;
    try { await R.Figures._library(); } catch { return; }
    if (this.section.hidden) return;
    this.colours = getComputedStyle(document.body);
    const found = this._gather();
    const shown = { rate: this._rate(found), labels: this._labels(found), histogram: this._histogram(found) };
    if (found.codes.length) shown.failures = this._failures(found);
    else if (this.model.meta.steps.length > 1) shown.steps = this._steps(found);
    for (const [name, chart] of this.charts) if (!(name in shown)) { chart.dispose(); this.charts.delete(name); document.getElementById(`figure-${name}`)?.remove(); }
    for (const name of Object.keys(shown)) this._place(name); // all of them first: each takes its share of the width
    for (const [name, option] of Object.entries(shown)) this._put(name, option);
  }

  redraw() { this.charts.forEach((chart) => chart.dispose()); this.charts.clear(); this.section.replaceChildren(); this.draw(); }

  _place(name) {
    if (!document.getElementById(`figure-${name}`)) {
      this.section.append(R.el("figure", { id: `figure-${name}` }, R.el("figcaption", { textContent: R.t(name) }), R.el("div", { class: "chart" })));
    }
  }

  _put(name, option) {
    let chart = this.charts.get(name);
    if (!chart) {
      chart = echarts.init(document.querySelector(`#figure-${name} .chart`));
      this.charts.set(name, chart);
      if (name === "labels") chart.on("click", ({ dataIndex }) => this.onLabel(this.listed[dataIndex]));
    }
    chart.setOption({ animation: false, textStyle: { fontFamily: this.colours.fontFamily }, ...option }, true);
  }

  _colour(name) { return this.colours.getPropertyValue(`--${name}`).trim(); }

  _gather() {
    const { model } = this, { meta, fail, step, code, count, first, label, score, flags, time, loaded: n } = model;
    const scores = new Uint32Array(20), steps = new Uint32Array(meta.steps.length);
    const labels = new Uint32Array(meta.labels.length), codes = new Uint32Array(meta.codes.length + 1);
    const cached = R.FLAGS.cached | R.FLAGS.duplicate | R.FLAGS.failed;
    const times = new Uint32Array(n); // of the results that were called for
    let size = 0;
    for (let row = 0; row < n; row++) {
      if (fail[row]) continue;
      steps[step[row]]++;
      codes[code[row]]++;
      if (!(flags[row] & cached) && time[row]) times[size++] = time[row];
      if (!count[row]) continue;
      const at = first[row];
      if (score[at] !== R.NO_SCORE) scores[Math.min(19, Math.floor((score[at] * 20) / meta.scores))]++;
      labels[label[at]]++;
    }
    codes[0] = 0; // no failure
    return { scores, steps, times: times.subarray(0, size), labels: R.Figures._most(labels), codes: R.Figures._most(codes) };
  }

  /** The ten most frequent numbers, each with its count. */
  static _most(counts) {
    return [...counts.entries()].filter(([, count]) => count).sort((a, b) => b[1] - a[1]).slice(0, 10);
  }

  _axis(more = {}) {
    const quiet = this._colour("quiet"), line = this._colour("line");
    return { axisLabel: { color: quiet, fontSize: 11, hideOverlap: true }, axisLine: { lineStyle: { color: line } }, axisTick: { show: false },
      splitLine: { lineStyle: { color: line, opacity: 0.6 } }, ...more };
  }

  _tooltip() {
    return { trigger: "axis", axisPointer: { type: "shadow" }, backgroundColor: this._colour("card"), borderColor: this._colour("line"),
      textStyle: { color: this._colour("ink"), fontSize: 12 }, confine: true, renderMode: "richText" };
  }

  _bars(names, values, colour) {
    return {
      grid: { left: 8, right: 40, top: 4, bottom: 4, containLabel: true },
      tooltip: this._tooltip(),
      xAxis: this._axis({ type: "value", splitNumber: 3, axisLabel: { show: false }, splitLine: { show: false } }),
      yAxis: this._axis({ type: "category", inverse: true, data: names, axisLine: { show: false },
        axisLabel: { color: this._colour("ink"), fontSize: 12, width: 110, overflow: "truncate" } }),
      series: [{ type: "bar", data: values, barMaxWidth: 13, itemStyle: { color: this._colour(colour), borderRadius: 3 },
        label: { show: true, position: "right", color: this._colour("quiet"), fontSize: 11, formatter: ({ value }) => R.n(value) } }],
    };
  }

  _labels({ labels }) {
    this.listed = labels.map(([label]) => label);
    return this._bars(labels.map(([label]) => this.model.labelText(label)), labels.map(([, count]) => count), "accent");
  }

  _failures({ codes }) {
    return this._bars(codes.map(([code]) => this.model.meta.codes[code - 1][0]), codes.map(([, count]) => count), "bad");
  }

  _steps({ steps }) {
    return this._bars(this.model.meta.steps.map(({ name }) => name), [...steps], "accent");
  }

  _histogram({ scores }) {
    return {
      grid: { left: 8, right: 12, top: 14, bottom: 4, containLabel: true },
      tooltip: this._tooltip(),
      xAxis: this._axis({ type: "category", data: [...scores].map((_, at) => (at / 20).toFixed(2)), splitLine: { show: false }, axisLabel: { color: this._colour("quiet"), fontSize: 11, interval: 3 } }),
      yAxis: this._axis({ type: "value", splitNumber: 3, minInterval: 1, axisLine: { show: false } }),
      series: [{ type: "bar", data: [...scores], barCategoryGap: "12%", itemStyle: { color: this._colour("accent"), borderRadius: [3, 3, 0, 0] } }],
    };
  }

  _rate({ times }) {
    let first = times[0] ?? 0, last = first;
    for (const time of times) { if (time < first) first = time; if (time > last) last = time; }
    const bins = Math.max(1, Math.min(60, last - first + 1)), width = Math.max(1, (last - first + 1) / bins);
    const counts = new Uint32Array(bins);
    for (const time of times) counts[Math.min(bins - 1, Math.floor((time - first) / width))]++;
    const day = last - first > 86_400;
    const named = (at) => new Date((first + at * width) * 1000).toLocaleString(R.language === "zh" ? "zh-CN" : "en-GB",
      day ? { month: "numeric", day: "numeric", hour: "2-digit" } : { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const limits = [...new Set(Object.values(this.model.meta.qps).filter((value) => value))];
    const grey = this._colour("quiet");
    return {
      grid: { left: 8, right: 16, top: 14, bottom: 4, containLabel: true },
      tooltip: this._tooltip(),
      xAxis: this._axis({ type: "category", boundaryGap: false, data: [...counts].map((_, at) => named(at)), splitLine: { show: false } }),
      yAxis: this._axis({ type: "value", splitNumber: 3, axisLine: { show: false }, max: ({ max }) => Math.max(max, ...limits) }),
      series: [{ type: "line", data: [...counts].map((count) => Math.round((count / width) * 100) / 100), showSymbol: bins < 12, smooth: 0.2,
        lineStyle: { color: this._colour("accent"), width: 2 }, itemStyle: { color: this._colour("accent") },
        areaStyle: { color: this._colour("accent"), opacity: 0.12 },
        markLine: { silent: true, symbol: "none", lineStyle: { color: grey, type: "dashed" },
          label: { formatter: `${R.t("limit")} {c}`, color: grey, position: "insideEndTop" }, data: limits.map((yAxis) => ({ yAxis })) } }],
    };
  }
};
