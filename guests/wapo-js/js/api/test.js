// wapo:test: the runner of `wapo test`.
export * from "../wapo/test.js";
export { default } from "../wapo/test.js";
