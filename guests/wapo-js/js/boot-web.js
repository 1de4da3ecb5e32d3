// Puts the web platform on the global object and gives the engine its entry points. Imported once, by boot.js, before the
// memory image is taken: nothing here reads a clock, the environment or chance.
// Ecma-429 (Minimum Common Web Platform API) has the list; what is beyond it is said beside it.
import { expose } from "./web/idl.js";
import { AbortController, AbortSignal } from "./web/abort.js";
import { atob, btoa } from "./web/base64.js";
import { Blob, File } from "./web/blob.js";
import { CompressionStream, DecompressionStream } from "./web/compression.js";
import { Crypto, crypto } from "./web/crypto.js";
import { CryptoKey } from "./web/crypto-key.js";
import { SubtleCrypto } from "./web/crypto-subtle.js";
import { TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream } from "./web/encoding.js";
import { CloseEvent, CustomEvent, ErrorEvent, Event, MessageEvent, PromiseRejectionEvent } from "./web/event.js";
import { EventSource } from "./web/event-source.js";
import { EventTarget, handlerAttributes, setGlobalTarget } from "./web/event-target.js";
import { FormData } from "./web/form-data.js";
import { Headers } from "./web/headers.js";
import { MessageChannel, MessagePort } from "./web/messaging.js";
import { Navigator, navigator } from "./web/navigator.js";
import { Performance, PerformanceEntry, PerformanceMark, PerformanceMeasure, performance } from "./web/performance.js";
import { Request } from "./web/request.js";
import { Response } from "./web/response.js";
import { URL } from "./web/url.js";
import { URLPattern } from "./web/url-pattern.js";
import { URLSearchParams } from "./web/search-params.js";
import { WebSocket } from "./web/websocket.js";
import { WebSocketPair } from "./web/websocket-pair.js";
import { notCloneable, structuredClone } from "./web/clone.js";
import { console } from "./web/console.js";
import { fetch } from "./web/fetch.js";
import { reportError } from "./web/report.js";
import { FetchEvent } from "./web/serve.js";
import { registerShows } from "./web/shows.js";
import * as streams from "./web/streams.js";
import { WebAssembly, wasmClasses } from "./web/wasm.js";
import { clearImmediate, clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "./web/timers.js";

export { dispatch, hasFetchListener } from "./web/serve.js";
export { rejection, report } from "./web/report.js";
export { inspect, safeInspect } from "./web/inspect.js";

const {
  ByteLengthQueuingStrategy, CountQueuingStrategy, ReadableByteStreamController, ReadableStream, ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest, ReadableStreamDefaultController, ReadableStreamDefaultReader, TransformStream,
  TransformStreamDefaultController, WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
} = streams;

const interfaces = {
  AbortController, AbortSignal, Blob, ByteLengthQueuingStrategy, CloseEvent, CompressionStream, CountQueuingStrategy, Crypto, CryptoKey, CustomEvent,
  DecompressionStream, ErrorEvent, Event, EventSource, EventTarget, File, FormData, Headers, MessageChannel, MessageEvent, MessagePort,
  Navigator, Performance, PerformanceEntry, PerformanceMark, PerformanceMeasure, PromiseRejectionEvent, ReadableByteStreamController,
  ReadableStream, ReadableStreamBYOBReader, ReadableStreamBYOBRequest, ReadableStreamDefaultController, ReadableStreamDefaultReader,
  Request, Response, SubtleCrypto, TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream, TransformStream, TransformStreamDefaultController,
  URL, URLPattern, URLSearchParams, WebSocket, WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
  // Beyond Ecma-429: Service Workers' event, and what edge runtimes share.
  FetchEvent, WebSocketPair,
};

const { addEventListener, dispatchEvent, removeEventListener } = EventTarget.prototype;

// Operations of the global are enumerable, as members of an interface are.
const operations = {
  addEventListener, atob, btoa, clearInterval, clearTimeout, dispatchEvent, fetch, removeEventListener, reportError, setInterval, setTimeout, structuredClone,
  // Beyond Ecma-429: Node's.
  clearImmediate, setImmediate,
};

export function install(global) {
  for (const [key, value] of Object.entries(interfaces)) expose(global, key, value, false);
  for (const [key, value] of Object.entries(operations)) expose(global, key, value, true);
  expose(global, "console", console, false);
  expose(global, "crypto", crypto, true);
  expose(global, "navigator", navigator, true);
  expose(global, "performance", performance, true);
  expose(global, "self", global, true);
  expose(global, "WebAssembly", WebAssembly, false);
  setGlobalTarget(global);
  handlerAttributes(global, "error", "unhandledrejection", "rejectionhandled");
  notCloneable([...Object.values(interfaces), ...wasmClasses]);
  registerShows();
}
