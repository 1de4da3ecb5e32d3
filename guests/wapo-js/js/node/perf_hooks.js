// node:perf_hooks: the global performance. There are no observers.
export const { performance, PerformanceEntry, PerformanceMark, PerformanceMeasure } = globalThis;
export default { performance, PerformanceEntry, PerformanceMark, PerformanceMeasure };
