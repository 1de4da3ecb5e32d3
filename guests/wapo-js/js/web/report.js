// What becomes of exceptions that nobody catches: reportError, the global's error event, unhandledrejection and rejectionhandled.
// HTML Living Standard, 8.1.4.3 (report an exception) and 8.1.6.3 (unhandled promise rejections).
import native from "wapo:native";
import { ErrorEvent, PromiseRejectionEvent } from "./event.js";
import { fire, hasListeners, hooks } from "./event-target.js";
import { ownFrames, safeInspect } from "./inspect.js";
import { isObject, need } from "./idl.js";

const LEVEL_ERROR = 4;
// Characters of a stack in which its first place is looked for.
const PLACE_MAX = 2000;
let reporting = false;

// What the engine throws where it stops a script.
export const isInterrupted = (error) => error instanceof Error && error.name === "InternalError" && error.message === "interrupted";

// Which limit is over, of a program that was stopped; else undefined. Of isolates their creator is told.
function limitOf(value) {
  try {
    return isInterrupted(value) && !native.isolate ? native.budget.spent() : undefined;
  } catch { /* a value that fights back is none of the engine's */ }
  return undefined;
}

// The text of what was thrown, where the engine's own does not tell enough or too much: which limit is over, what an object is
// that is no error, a stack without frames of the platform. Else undefined. Never throws.
export function words(value) {
  try {
    if (!isObject(value)) return undefined;
    if (!(value instanceof Error)) return safeInspect(value);
    return limitOf(value) ?? `${value}\n${ownFrames(`${value.stack ?? ""}`.trimEnd())}`.trimEnd();
  } catch { /* a value that fights back: the engine's words */ }
  return undefined;
}

function print(prefix, value) {
  const text = limitOf(value) ?? safeInspect(value);
  native.isolate?.failed(text);
  native.log.message(LEVEL_ERROR, `${prefix}${text}`);
}

// Message and place of an error, or empty ones: looking at a value of a stranger may throw.
function describe(error) {
  const out = { message: "", filename: "", lineno: 0, colno: 0 };
  try {
    out.message = error instanceof Error ? `Uncaught ${error.name}: ${error.message}` : `Uncaught ${safeInspect(error)}`;
    const place = error instanceof Error && typeof error.stack === "string" && /(?:\(| at )?([^\s()]+):(\d+):(\d+)\)?/.exec(ownFrames(error.stack.slice(0, PLACE_MAX)));
    if (place) Object.assign(out, { filename: place[1], lineno: +place[2], colno: +place[3] });
  } catch {
    out.message ||= "Uncaught exception";
  }
  return out;
}

export function report(error) {
  try {
    if (!reporting && hasListeners(globalThis, "error")) {
      reporting = true;
      try {
        const event = new ErrorEvent("error", { ...describe(error), error, cancelable: true });
        if (!fire(globalThis, event)) return;
      } finally {
        reporting = false;
      }
    }
    print("Uncaught ", error);
  } catch {
    // Out of memory or out of stack while telling of it: there is nothing left to try.
  }
}
hooks.report = report;

export function reportError(error) {
  need(arguments.length, 1, "reportError");
  report(error);
}

export function rejection(promise, reason, handled) {
  try {
    const type = handled ? "rejectionhandled" : "unhandledrejection";
    if (hasListeners(globalThis, type)) {
      const event = new PromiseRejectionEvent(type, { promise, reason, cancelable: !handled });
      if (!fire(globalThis, event)) return;
    }
    if (!handled) print("Unhandled rejection: ", reason);
  } catch {
    // As in report().
  }
}

// An error of a request: the log has all of it, the client nothing.
export function logFailure(prefix, error) {
  try { print(prefix, error); } catch { /* as in report() */ }
}
