// node:path/posix is node:path.
export * from "../path.js";
export { default } from "../path.js";
