// What a page and a worker have in common.
export const read = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());

export function play({ scheduler }) {
  if (!scheduler) {
    Object.defineProperty(globalThis, "scheduler", { value: undefined });
  }
  globalThis.painted = 0;
  const paint = () => { globalThis.painted += 1; requestAnimationFrame(paint); };
  if (globalThis.requestAnimationFrame) paint();
}
