// wapo:assert.
export * from "../wapo/assert.js";
export { default } from "../wapo/assert.js";
