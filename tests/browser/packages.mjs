// The public host library in a browser: an import map for its modules, and the folder that they are served from.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const CONDITIONS = ["browser", "import", "module", "default"];
const IMPORTS = /(?:^|[;\s}])(?:import|export)\s*(?:[\w$*{}\s,]+\s*from\s*)?["']([^"'\n]+)["']|\bimport\(\s*["']([^"'\n]+)["']\s*\)/g;

/** The folder of packages: `WAN_MCP_NODE_MODULES`, or that of tests/interop. */
export const MODULES = resolve(process.env.WAN_MCP_NODE_MODULES ?? join(HERE, "../interop/node_modules"));

/** Import a package from there. */
export async function load(name) {
  return import(pathToFileURL(find(name, ["node", "import", "default"])).href);
}

/** Give the import map for everything that `entries` import, from a site that serves the packages under `base`. */
export function importMap(entries, base) {
  const imports = {};
  const open = [...entries];
  const read = new Set();
  while (open.length) {
    const specifier = open.pop();
    if (imports[specifier]) continue;
    const file = find(specifier, CONDITIONS);
    imports[specifier] = `${base}/${relative(MODULES, file)}`;
    open.push(...bare(file, read));
  }
  return { imports };
}

function bare(file, read) {
  if (read.has(file)) return [];
  read.add(file);
  const found = [];
  for (const [, still, late] of readFileSync(file, "utf8").matchAll(IMPORTS)) {
    const specifier = still ?? late;
    if (specifier.startsWith(".")) {
      const other = resolve(dirname(file), specifier);
      if (existsSync(other)) found.push(...bare(other, read));
    } else if (!specifier.startsWith("node:") && /^[@a-z]/.test(specifier)) found.push(specifier);
  }
  return found.filter((specifier) => existsSync(folder(specifier)));
}

function split(specifier) {
  const parts = specifier.split("/");
  const count = specifier.startsWith("@") ? 2 : 1;
  return [parts.slice(0, count).join("/"), parts.slice(count).join("/")];
}

function folder(specifier) {
  return join(MODULES, split(specifier)[0]);
}

function find(specifier, conditions) {
  const [, inside] = split(specifier);
  const manifest = JSON.parse(readFileSync(join(folder(specifier), "package.json"), "utf8"));
  const exports = manifest.exports ?? { ".": `./${manifest.module ?? manifest.main ?? "index.js"}` };
  const key = inside ? `./${inside}` : ".";
  const entry = typeof exports === "string" || !("." in exports || key in exports) ? exports : exports[key];
  const target = choose(entry, conditions);
  if (!target) throw new Error(`${specifier} has no ${key} for ${conditions.join(", ")}`);
  return join(folder(specifier), target);
}

function choose(entry, conditions) {
  if (!entry || typeof entry === "string") return entry;
  const name = Object.keys(entry).find((each) => conditions.includes(each) && choose(entry[each], conditions));
  return name && choose(entry[name], conditions);
}
