// node:path as on Unix, from the package `path-browserify`. There is no win32.
import path from "npm:path-browserify";

export const { basename, delimiter, dirname, extname, format, isAbsolute, join, normalize, parse, relative, resolve, sep } = path;
export const toNamespacedPath = (value) => value;
Object.assign(path, { toNamespacedPath });
export const { posix } = path;
export default path;
