// navigator: the user agent and what follows from there being one processor.
// HTML Living Standard, 8.10.1; Ecma-429 (navigator.userAgent).
import native from "wapo:native";
import { INTERNAL, finish, illegal } from "./idl.js";

export const USER_AGENT = native.userAgent;

export class Navigator {
  #made = true;
  constructor(token) {
    if (token !== INTERNAL) illegal();
  }
  get userAgent() { return (this.#made, USER_AGENT); }
  get hardwareConcurrency() { return (this.#made, 1); }
  get language() { return (this.#made, "en"); }
  get languages() { return (this.#made, LANGUAGES); }
}
const LANGUAGES = Object.freeze(["en"]);
Object.defineProperty(Navigator, "length", { value: 0, configurable: true });
finish(Navigator, "Navigator");

export const navigator = new Navigator(INTERNAL);
