import { make } from "./dom.js";
import { dayWords } from "./times.js";
import { countWords } from "./words.js";

const MOST_DAYS = 14;

function costTable(caption, name, rows) {
  const head = make("tr", {}, make("th", { scope: "col" }, name), make("th", { scope: "col", class: "number" }, "Images"), make("th", { scope: "col" }, "Cost"));
  const lines = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.title), make("td", { class: "number" }, row.images.toLocaleString()), make("td", {}, plain(row.words))));
  return make("div", { class: "table" }, make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, lines)));
}

function plain(words) {
  return words.replace(/^about /, "").replace(/ \(.*/, "");
}

/** Show what images cost into an element: all of them, by model and by day. */
export function showCosts(element, costs) {
  const since = make("p", {}, `${countWords(costs.images, "image")} were made: ${costs.words}. Only the service's own bill is certain.`);
  const unclear = costs.unclear ? make("p", {}, `What became of ${countWords(costs.unclear, "image")} is not known, and in no sum.`) : null;
  const models = costTable("By model", "Model and region", costs.models.map((row) => ({ ...row, title: row.name })));
  const days = costTable(costs.days.length > MOST_DAYS ? `By day, the last ${MOST_DAYS} with images` : "By day", "Day", costs.days.slice(0, MOST_DAYS).map((row) => ({ ...row, title: dayWords(row.name) })));
  element.replaceChildren(since, ...(unclear ? [unclear] : []), make("div", { class: "tables" }, models, days));
}
