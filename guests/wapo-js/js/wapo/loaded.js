// Tells when the program was evaluated, for modules that wait for it. `boot.js` says so.
const waiting = [];
let isLoaded = false;

export function whenLoaded(action) {
  if (isLoaded) action();
  else waiting.push(action);
}

export function loaded() {
  isLoaded = true;
  for (const action of waiting.splice(0)) action();
}
