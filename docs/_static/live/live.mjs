// Loads Python and the package into the page; draws what demo.py computes; counts frames.

const find = (id) => document.getElementById(id);
const show = (text) => { find("status").textContent = text; };

// What the page does sixty times a second when nothing holds it up.
const seen = { frames: 0, longest: 0, last: performance.now() };
const ball = find("ball").firstElementChild;
(function frame() {
  const now = performance.now();
  seen.frames += 1;
  seen.longest = Math.max(seen.longest, now - seen.last);
  seen.last = now;
  const room = ball.parentElement.clientWidth - ball.clientWidth;
  ball.style.transform = `translateX(${(room * (1 + Math.sin(now / 400))) / 2}px)`;
  requestAnimationFrame(frame);
})();

const nextFrame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

const canvas = find("picture");
const pen = canvas.getContext("2d");
const line = pen.createImageData(canvas.width, 1);

function paint(row, counts) {
  const bytes = counts.toJs();
  counts.destroy();
  bytes.forEach((count, column) => {
    const light = Math.min(255, count * 6);
    line.data.set([light / 3, light * 0.8, light, 255], 4 * column);
  });
  pen.putImageData(line, 0, row);
}

async function load() {
  const config = await (await fetch("config.json")).json();
  if (!config.pyodide) {
    throw new Error("this copy of the site was built without Pyodide");
  }
  const base = new URL(config.pyodide, location.href).href;
  const { loadPyodide } = await import(new URL("pyodide.mjs", base).href);
  const python = await loadPyodide({ indexURL: base });
  for (const name of config.archives) {
    const archive = await (await fetch(name)).arrayBuffer();
    python.unpackArchive(archive, name.endsWith(".whl") ? "wheel" : "zip", {
      extractDir: python.runPython("import site; site.getsitepackages()[0]"),
    });
  }
  const names = python.globals.get("dict")();
  python.runPython(await (await fetch("demo.py")).text(), { globals: names });
  return names;
}

async function run(how, names) {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  show(`${how}: computing…`);
  await nextFrame();
  const began = performance.now();
  Object.assign(seen, { frames: 0, longest: 0, last: began });
  await names.get(how)(canvas.width, canvas.height, paint);
  await nextFrame();
  const seconds = (performance.now() - began) / 1000;
  const cells = find(`row-${how}`).querySelectorAll("td");
  cells[0].textContent = seconds.toFixed(1);
  cells[1].textContent = (seen.frames / seconds).toFixed(0);
  cells[2].textContent = seen.longest.toFixed(0);
  for (const button of document.querySelectorAll("button")) button.disabled = false;
  show("Ready.");
}

try {
  const names = await load();
  for (const how of ["blocking", "cooperative"]) {
    find(how).addEventListener("click", () => run(how, names).catch((error) => show(error)));
    find(how).disabled = false;
  }
  show("Ready.");
} catch (error) {
  show(`Python cannot be loaded: ${error.message}.`);
}
