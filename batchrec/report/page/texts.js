// Texts of the page in English and Chinese, and the elements that hold them.
"use strict";

const R = {};

R.TEXTS = {
  en: {
    images: "Images", results: "Results", failed: "Failed", remaining: "Remaining", duplicates: "Duplicates",
    ignored: "Ignored files", calls: "Calls", cost: "Cost", yuan: "¥{n}",
    about: "{endpoint} · {when} · batchrec {version}",
    running: "The job is still running: this report shows the results up to now.",
    gone: "{n} images have moved or changed since they were recognized, and have no thumbnail.",
    nothing: "No image matches these filters.",
    clear: "Clear all filters",
    empty: "Nothing has been recognized yet: {why}.",
    whyFailed: "{n} failed, most often with {code}",
    whyRemaining: "{n} calls remain; run the job",
    whyStopped: "the last run was stopped by {what}",
    whyNone: "the job has no images",
    search: "Search labels and file names", sort: "Sort", boxes: "Boxes", filters: "Filters",
    name: "File name", score: "Score, high to low", scoreUp: "Score, low to high", time: "Newest first",
    timeUp: "Oldest first", margin: "Margin, small to large",
    count: "{images} images · {results} results", countSame: "{images} images",
    selectAll: "Select all", selectNone: "Clear selection",
    download: "Download list", downloadSome: "Download {n} paths",
    step: "Step", label: "Label", folder: "Folder", code: "Failure", state: "State", scores: "Score",
    compare: "Compare steps", top: "Top-1", all: "All labels", more: "{n} more", find: "Find",
    answered: "with a result", noLabel: "no label", repaired: "repaired", duplicate: "duplicate",
    cached: "cached result", tiles: "in tiles", outdated: "file or options changed", isFailed: "failed",
    mainSubject: "main subject", here: "in this folder",
    same: "Same top label", different: "Different", confusion: "Most frequent differences", none: "none", off: "off",
    open: "Open the original", copy: "Copy", copied: "Copied", full: "Full result", previous: "Previous", next: "Next",
    close: "Close", moved: "The original is not at {path}. Move it back, or write the report again.",
    undisplayed: "The browser cannot show the original at {path}.",
    remote: "The image is at an address, and is not part of this report.",
    select: "Select", selected: "Selected", noResult: "no label found",
    figures: "Charts", theme: "Theme: {what}", auto: "auto", light: "light", dark: "dark", language: "中文",
    rate: "Results per second", limit: "limit", labels: "Top labels", histogram: "Score of the top label",
    failures: "Failures", resultsWord: "results", steps: "Results by step",
    printed: "The first {shown} of {images} images",
    help: "Keys", keySearch: "search", keyMove: "move", keyOpen: "open", keySelect: "select", keyClose: "close",
    keyBoxes: "boxes on or off", keyPrint: "print", keyHelp: "this list", loading: "Loading…",
    broken: "The file {name} of this report is missing. Copy the whole folder, or write the report again.",
  },
  zh: {
    images: "图片", results: "识别结果", failed: "失败", remaining: "剩余", duplicates: "重复图片",
    ignored: "忽略的文件", calls: "调用", cost: "费用", yuan: "{n} 元",
    about: "{endpoint} · {when} · batchrec {version}",
    running: "任务仍在运行：本报告显示截至目前的识别结果。",
    gone: "有 {n} 张图片在识别之后被移动或修改，没有缩略图。",
    nothing: "没有符合筛选条件的图片。",
    clear: "清除全部筛选",
    empty: "还没有任何识别结果：{why}。",
    whyFailed: "{n} 项失败，最常见的原因是 {code}",
    whyRemaining: "剩余 {n} 次调用；请运行任务",
    whyStopped: "上次运行因 {what} 停止",
    whyNone: "任务中没有图片",
    search: "搜索标签和文件名", sort: "排序", boxes: "方框", filters: "筛选",
    name: "文件名", score: "置信度从高到低", scoreUp: "置信度从低到高", time: "最新在前",
    timeUp: "最早在前", margin: "前两名差距从小到大",
    count: "{images} 张图片 · {results} 个识别结果", countSame: "{images} 张图片",
    selectAll: "全选", selectNone: "取消选择",
    download: "下载清单", downloadSome: "下载 {n} 个路径",
    step: "步骤", label: "标签", folder: "文件夹", code: "失败原因", state: "状态", scores: "置信度",
    compare: "比较步骤", top: "Top-1", all: "全部标签", more: "还有 {n} 项", find: "查找",
    answered: "有识别结果", noLabel: "没有标签", repaired: "已修复", duplicate: "重复图片",
    cached: "复用历史结果", tiles: "分块识别", outdated: "文件或参数已更改", isFailed: "失败",
    mainSubject: "主体", here: "本文件夹",
    same: "Top-1 相同", different: "不同", confusion: "最常见的差异", none: "无", off: "关闭",
    open: "打开原图", copy: "复制", copied: "已复制", full: "完整的识别结果", previous: "上一张", next: "下一张",
    close: "关闭", moved: "原图不在 {path}。请移回原处，或重新生成报告。",
    undisplayed: "浏览器无法显示 {path} 的原图。",
    remote: "这张图片位于网络地址，不包含在本报告中。",
    select: "选择", selected: "已选择", noResult: "未识别出标签",
    figures: "图表", theme: "主题：{what}", auto: "自动", light: "浅色", dark: "深色", language: "English",
    rate: "每秒识别结果", limit: "上限", labels: "最常见的标签", histogram: "Top-1 置信度",
    failures: "失败", resultsWord: "个识别结果", steps: "各步骤的识别结果",
    printed: "{images} 张图片中的前 {shown} 张",
    help: "快捷键", keySearch: "搜索", keyMove: "移动", keyOpen: "打开", keySelect: "选择", keyClose: "关闭",
    keyBoxes: "显示或隐藏方框", keyPrint: "打印", keyHelp: "本列表", loading: "正在加载…",
    broken: "本报告缺少文件 {name}。请复制整个文件夹，或重新生成报告。",
  },
};

R.kept = {
  // Settings of this browser; a browser may refuse to keep any for pages of the disk.
  get(name) { try { return localStorage.getItem("batchrec." + name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem("batchrec." + name, value); } catch { /* not kept */ } },
};

R.language = "en";
R.t = (key, values = {}) =>
  R.TEXTS[R.language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
R.numbers = { en: new Intl.NumberFormat("en-US"), zh: new Intl.NumberFormat("zh-CN") };
R.n = (number) => R.numbers[R.language].format(number);

/** An element with properties and children; children that are texts stay texts, whatever they hold. */
R.el = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

/** A text from outside (label, file name): isolated, so that its direction does not change its surroundings. */
R.bdi = (text, properties = {}) => R.el("bdi", { textContent: text, ...properties });

R.svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
