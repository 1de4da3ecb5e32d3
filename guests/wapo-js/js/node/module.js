// node:module: `createRequire`, whose result finds modules of Node only, as the global `require` does.
import { isNodeModule, nodeModules, require } from "../wapo/require.js";

export const createRequire = () => require;
export const isBuiltin = isNodeModule;
export const builtinModules = nodeModules;
export default { builtinModules, createRequire, isBuiltin };
