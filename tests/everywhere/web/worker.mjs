// A web worker: does what the page would do.
import { start } from "./start.mjs";
import { play, read } from "./page.mjs";

onmessage = async ({ data }) => {
  try {
    play(data);
    postMessage({ result: await start(data.module, data.base, read, data.archives, data.program, data.call) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
