// Writes the bundle and its licence beside the page. `npm ci && npm run build`; CI checks that nothing changes by it.
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const page = process.argv[2] ?? "../page";
const { version } = JSON.parse(await readFile("node_modules/echarts/package.json", "utf8"));
await build({
  entryPoints: ["entry.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome90", "firefox90", "safari15"],
  legalComments: "none",
  banner: { js: `/*! Apache ECharts ${version}, Apache-2.0: see LICENSE.echarts. Made by batchrec/report/charts/build.mjs. */` },
  outfile: `${page}/charts.js`,
});
const texts = ["LICENSE", "NOTICE", "licenses/LICENSE-d3"].map((name) => readFile(`node_modules/echarts/${name}`, "utf8"));
const zrender = readFile("node_modules/zrender/LICENSE", "utf8");
const tslib = readFile("node_modules/tslib/LICENSE.txt", "utf8");
await writeFile(`${page}/LICENSE.echarts`, (await Promise.all([...texts, zrender, tslib])).join("\n\n----\n\n"));
