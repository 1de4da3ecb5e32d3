// atob and btoa: the engine's, which do not look at the number of arguments.
// HTML Living Standard, 8.3.
import { need } from "./idl.js";

const { atob: decode, btoa: encode } = globalThis;

export function atob(data) {
  need(arguments.length, 1, "atob");
  return decode(data);
}

export function btoa(data) {
  need(arguments.length, 1, "btoa");
  return encode(data);
}
