// What console.log shows of objects of the platform: their getters would not be called otherwise.
import { AbortSignal } from "./abort.js";
import { Blob, File } from "./blob.js";
import { CloseEvent, CustomEvent, ErrorEvent, Event, MessageEvent } from "./event.js";
import { FormData } from "./form-data.js";
import { Headers } from "./headers.js";
import { showAs } from "./inspect.js";
import { PerformanceEntry } from "./performance.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import { URL } from "./url.js";
import { URLSearchParams } from "./search-params.js";
import { WebSocket } from "./websocket.js";
import { ReadableStream, WritableStream } from "./streams.js";

const MEMBERS = [
  [AbortSignal, "aborted"], [File, "size", "type", "name", "lastModified"], [Blob, "size", "type"],
  [CloseEvent, "type", "code", "reason", "wasClean"], [CustomEvent, "type", "detail"], [MessageEvent, "type", "data", "origin", "lastEventId"],
  [ErrorEvent, "type", "message", "filename", "lineno", "colno", "error"], [Event, "type", "defaultPrevented", "cancelable", "timeStamp"],
  [PerformanceEntry, "name", "entryType", "startTime", "duration"],
  [Request, "method", "url", "headers", "redirect", "bodyUsed"],
  [Response, "status", "statusText", "headers", "bodyUsed", "ok", "redirected", "type", "url"],
  [URL, "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash"],
  [WebSocket, "url", "readyState", "protocol", "extensions", "bufferedAmount"],
  [ReadableStream, "locked"], [WritableStream, "locked"],
];

export function registerShows() {
  for (const [cls, ...keys] of MEMBERS) showAs(cls, (object) => Object.fromEntries(keys.map((key) => [key, object[key]])));
  for (const cls of [Headers, URLSearchParams, FormData]) showAs(cls, (object) => fields(cls.prototype.entries.call(object)));
}

// Names that occur more than once have a list of values.
function fields(entries) {
  const out = {};
  for (const [key, value] of entries) {
    const all = Object.hasOwn(out, key) ? [out[key], value].flat() : value;
    Object.defineProperty(out, key, { value: all, enumerable: true, configurable: true, writable: true });
  }
  return out;
}
