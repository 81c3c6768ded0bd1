// Node: node run.mjs PYODIDE PROGRAM ARCHIVE...; prints what main() of the program returns.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { start } from "./start.mjs";

const [folder, program, ...archives] = process.argv.slice(2);
const pyodide = path.resolve(folder);
const read = async (name) => new Uint8Array(fs.readFileSync(name));
const result = await start(
  pathToFileURL(path.join(pyodide, "pyodide.mjs")).href, undefined, read, archives, program,
);
process.stdout.write(result, () => process.exit(0));
