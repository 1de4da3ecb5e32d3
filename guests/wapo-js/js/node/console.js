// node:console is the global one.
const { console } = globalThis;
export { console };
export const { assert, clear, count, countReset, debug, dir, dirxml, error, group, groupCollapsed, groupEnd, info, log, table, time, timeEnd, timeLog, trace, warn } = console;
export default console;
