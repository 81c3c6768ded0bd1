// Everywhere: load Pyodide, unpack the archives, run a program, return what its main() does.
export async function start(module, indexURL, read, archives, program, call = "main()") {
  const { loadPyodide } = await import(module);
  const python = await loadPyodide(indexURL ? { indexURL } : {});
  const site = python.runPython("import site; site.getsitepackages()[0]");
  for (const name of archives) {
    const bytes = await read(name);
    python.unpackArchive(bytes, name.endsWith(".whl") ? "wheel" : "zip", { extractDir: site });
  }
  python.FS.writeFile(`${site}/program.py`, await read(program));
  const text = `import program, json; json.dumps(await program.${call})`;
  return await python.runPythonAsync(text);
}
