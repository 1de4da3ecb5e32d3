// node:timers/promises.
import { clearInterval, clearTimeout, setImmediate as immediate, setInterval as interval, setTimeout as timeout } from "../../web/timers.js";
import { abortError } from "../../node-parts/errors.js";

function wait(start, value, { signal } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortError(signal));
    const stopped = () => {
      clearTimeout(id);
      reject(abortError(signal));
    };
    const id = start(() => {
      signal?.removeEventListener("abort", stopped);
      resolve(value);
    });
    signal?.addEventListener("abort", stopped, { once: true });
  });
}

export const setTimeout = (ms = 1, value = undefined, options = undefined) => wait((done) => timeout(done, ms), value, options);
export const setImmediate = (value = undefined, options = undefined) => wait((done) => immediate(done), value, options);

// Gives the value once for each time that has passed.
export async function* setInterval(ms = 1, value = undefined, { signal } = {}) {
  if (signal?.aborted) throw abortError(signal);
  let due = 0, wake = () => {}, failure = null;
  const id = interval(() => { due++; wake(); }, ms);
  const stopped = () => { failure = abortError(signal); wake(); };
  signal?.addEventListener("abort", stopped, { once: true });
  try {
    for (;;) {
      if (failure !== null) throw failure;
      if (due === 0) await new Promise((resolve) => { wake = resolve; });
      else {
        due--;
        yield value;
      }
    }
  } finally {
    clearInterval(id);
    signal?.removeEventListener("abort", stopped);
  }
}

export const scheduler = { wait: (ms, options) => setTimeout(ms, undefined, options), yield: () => setImmediate() };

export default { scheduler, setImmediate, setInterval, setTimeout };
