// Types of what programs in JavaScript and TypeScript have on Wapo: `Wapo`, the modules `wapo:…`, what edge runtimes share.
// The web platform's are TypeScript's own, of workers; so a program's tsconfig must not name the library "dom".
// `wapo new --template ts` copies this file to wapo-env.d.ts.

/// <reference lib="esnext" />
/// <reference lib="webworker" />
/// <reference lib="webworker.iterable" />
/// <reference lib="webworker.asynciterable" />

/** Bytes as most functions of {@link Wapo} take them. A text stands for its UTF-8. */
type WapoBytes = string | Uint8Array | ArrayBuffer | ArrayBufferView | readonly number[];

/** Header fields as pairs, or as an object. */
type WapoHeaders = Iterable<readonly [string, string]> | Record<string, string>;

/** A program's default export: `export default { … } satisfies WapoProgram`. */
interface WapoProgram {
  /** Answers a web request. */
  fetch?(request: Request, env: WapoEnv, ctx: ExecutionContext): Response | Promise<Response>;
  /** Answers a query. */
  query?(query: WapoQuery, env: WapoEnv): WapoAnswer | Promise<WapoAnswer>;
}

/** The app's environment. A program may declare its variables: `interface WapoEnv { GREETING: string }`. */
interface WapoEnv {
  readonly [name: string]: string;
}

/** What goes with a request. */
interface ExecutionContext {
  /** Names work that goes on after the answer. */
  waitUntil(promise: Promise<unknown>): void;
}

/** A query to a program's default export. */
interface WapoQuery {
  readonly path: string;
  readonly payload: Uint8Array<ArrayBuffer>;
  /** The account that has signed the query, 32 bytes, or null. */
  readonly origin: Uint8Array<ArrayBuffer> | null;
}

/** What a query is answered with. */
type WapoAnswer = string | Uint8Array | ArrayBuffer | null | undefined | void;

/** Two ends of a WebSocket: the client's goes into a Response, the server's is the program's. */
declare class WebSocketPair {
  constructor();
  readonly 0: WebSocket;
  readonly 1: WebSocket;
  [Symbol.iterator](): IterableIterator<WebSocket>;
}

interface WebSocket {
  /** Begins to talk on an end of a {@link WebSocketPair}. */
  accept(): void;
}

interface ResponseInit {
  /** The client's end of a {@link WebSocketPair}, with the status 101. */
  webSocket?: WebSocket | null;
}

interface Response {
  /** The client's end of a {@link WebSocketPair} that the response carries. */
  readonly webSocket: WebSocket | null;
}

interface DedicatedWorkerGlobalScopeEventMap {
  fetch: FetchEvent;
}

/** Arguments of the program: those after `--`. */
declare var scriptArgs: string[];
/** What a script leaves here is the program's output. */
declare var scriptOutput: unknown;
declare var global: typeof globalThis;
declare var window: typeof globalThis;
declare function print(...values: unknown[]): void;
declare function setImmediate<A extends unknown[]>(handler: (...args: A) => void, ...args: A): number;
declare function clearImmediate(id: number | undefined): void;

/** Something that is given out, used once, and means nothing elsewhere. */
interface WapoOpaque<Kind extends string> {
  readonly [Symbol.toStringTag]: "Opaque";
  /** Not there; it tells one kind from another. */
  readonly __kind?: Kind;
}
type WapoReadStream = WapoOpaque<"read">;
type WapoWriteStream = WapoOpaque<"write">;
type WapoWriter = WapoOpaque<"writer">;
type WapoAnswerHandle = WapoOpaque<"answer">;
type WapoReplyHandle = WapoOpaque<"reply">;
type WapoLock = WapoOpaque<"lock">;
type WapoSocket = WapoOpaque<"socket">;

/** A number for {@link Wapo.close}. */
type WapoId = number;

interface WapoRequest {
  method: string;
  url: string;
  headers: [string, string][];
  opaqueResponseTx: WapoAnswerHandle;
  opaqueInputStream: WapoReadStream;
  opaqueOutputStream: WapoWriteStream;
}

interface WapoResponseHead {
  status: number;
  statusText: string;
  version: string;
  headers: [string, string][];
  opaqueBodyStream: WapoReadStream;
}

type WapoMessage = { kind: "text"; data: string } | { kind: "binary"; data: Uint8Array<ArrayBuffer> } | { kind: "close"; data: { code: number; reason: string } };

/** What clients of a server of the program's own may take. */
interface WapoServerLimits {
  maxConnections?: number;
  /** Milliseconds for the head of a request. */
  headTimeout?: number;
  /** Milliseconds between two requests of a connection. */
  idleTimeout?: number;
}

/** What a script in an isolate may use and reach; null is no limit. */
interface WapoRunOptions {
  /** The script's `scriptArgs`. */
  args?: readonly string[];
  env?: Record<string, string>;
  /** Milliseconds that may pass. */
  timeLimit?: number | null;
  /** Milliseconds that it may compute. */
  cpuLimit?: number | null;
  /** Bytes, above what the engine itself takes. */
  memoryLimit?: number | null;
  /** Units of 10,000 steps. */
  gasLimit?: number | null;
  /** Where it may connect to: nowhere unless this says so. */
  network?: boolean | readonly string[];
  polyfills?: readonly ("browser" | "nodejs" | "wapo")[];
}

interface WapoRunOutcome<T> {
  readonly isOk: boolean;
  readonly isError: boolean;
  readonly value: T | undefined;
  readonly error: string | null;
  readonly logs: { message: string; time: number; level: string }[];
}

/** What the worker offers, under the names that programs of Wapo 0.x know. */
interface WapoObject {
  /** Version of the engine. */
  readonly version: string;
  /** The app's environment. */
  readonly env: WapoEnv;
  /** A secret of the app, in hex digits. */
  readonly workerSecret: string;

  /** Writes to the log: 1 debug, 2 information, 3 warning, 4 error. */
  print(level: 1 | 2 | 3 | 4, values: readonly unknown[], options?: { depth?: number; indent?: string }): void;
  /** A text for a value. */
  repr(value: unknown, options?: { depth?: number }): string;
  /** As console.log shows a value. */
  inspect(value: unknown): string;

  setTimeout(callback: () => void, milliseconds?: number): WapoId;
  setInterval(callback: () => void, milliseconds?: number): WapoId;
  /** Ends what has a number: a timer, a request, a stream, a connection. */
  close(id: WapoId): void;
  /** Ends the program after the present turn. */
  exit(code?: number): void;

  /** A secret of the app: 64 bytes, the same for the same path. */
  deriveSecret(path: WapoBytes): Uint8Array<ArrayBuffer>;
  /** Signs a message of at most 64 bytes with the worker's key. */
  workerSign(message: WapoBytes): Uint8Array<ArrayBuffer>;
  workerPublicKey(): Uint8Array<ArrayBuffer>;
  /** Proves what runs, in an enclave; null elsewhere. */
  sgxQuote(message: WapoBytes): Uint8Array<ArrayBuffer> | null;
  /**
   * Evidence that this app runs on this worker, inside what hardware attests (an encoded `AppEvidence`, for `wapo verify app`). With a
   * nonce of at most 64 bytes the hardware makes a quote for it; without one it is some hours old at most. Rejects where the worker
   * can prove nothing.
   */
  evidence(nonce?: WapoBytes): Promise<Uint8Array<ArrayBuffer>>;
  /** The record that the worker keeps for the app, or null. */
  bootData(): Uint8Array<ArrayBuffer> | null;
  /** Keeps a record of at most 64 KiB. */
  storeBootData(data: WapoBytes): void;
  /** Takes a lock of the app, and throws when it is held. */
  tryLock(path: string): WapoLock;
  unlock(lock: WapoLock): void;
  /** The app's address, 32 bytes. */
  appAddress(): Uint8Array<ArrayBuffer>;
  /** Hands out the program's output. */
  emitOutput(data: WapoBytes): void;
  /** Adds to the app's tip, in gas. */
  tip(amount: number): void;
  /** Gas that the app has used. */
  gasConsumed(): number;
  /** A blob of the worker by its hash, or null. */
  blobGet(hash: string): Uint8Array<ArrayBuffer> | null;
  memoryStats(): { current: number; spike: number; peak: number };

  hash(algorithm: "sha256" | "keccak256" | "blake2b128" | "blake2b256" | "blake2b512", data: WapoBytes): Uint8Array<ArrayBuffer>;
  nonCryptographicHash(algorithm: "wyhash64", data: WapoBytes): Uint8Array<ArrayBuffer>;
  hexEncode(data: WapoBytes, prefix?: boolean): string;
  hexDecode(text: string): Uint8Array<ArrayBuffer>;
  base64Encode(data: WapoBytes, pad?: boolean): string;
  base64Decode(text: string, pad?: boolean): Uint8Array<ArrayBuffer>;
  utf8Encode(text: string): Uint8Array<ArrayBuffer>;
  utf8Decode(data: WapoBytes): string;
  concatU8a(parts: Iterable<Uint8Array>): Uint8Array<ArrayBuffer>;
  readonly SCALE: ScaleObject;

  /** Answers requests of the gateway; the last listener counts. */
  httpListen(callback: (request: WapoRequest) => void): void;
  httpSendResponseHead(answer: WapoAnswerHandle, head: { status?: number; headers?: WapoHeaders }): void;
  httpsSendResponseHead(answer: WapoAnswerHandle, head: { status?: number; headers?: WapoHeaders }): void;
  /** A status line and header lines, as text. */
  httpsSendResponseHeadRaw(answer: WapoAnswerHandle, text: string): void;
  httpRequest(
    request: { url: string | URL; method?: string; headers?: WapoHeaders; body?: WapoBytes | null; streamBody?: boolean },
    callback: (...event: ["head", WapoResponseHead] | ["error", string]) => void,
  ): { cancelToken: WapoId; opaqueBodyStream: WapoWriteStream | null };

  /**
   * HTTP/1.1 for a name on the worker's TLS port, or on a port of the app; plain there, unless `attested` is true or a list of names
   * for a certificate of the worker's that attests the app.
   */
  httpsListen(
    config: WapoServerLimits & (
      | { serverName: string; certificateChain: string; privateKey: string }
      | { serverName: string; attested: true }
      | { address: string; attested?: boolean | readonly string[] }
    ),
    callback: (request: WapoRequest) => void,
  ): WapoId;

  queryListen(callback: (query: WapoQuery & { replyTx: WapoReplyHandle }) => void): void;
  queryReply(reply: WapoReplyHandle, data: WapoBytes): void;

  /** Runs a classic script in an engine of its own; the promise never rejects. */
  run<T = any>(code: string | Uint8Array | readonly string[], options?: WapoRunOptions): Promise<WapoRunOutcome<T>>;
  /** As {@link run}, with several scripts, no limits by default, and a callback. */
  isolateEval(
    request: WapoRunOptions & { scripts: readonly string[]; args: readonly string[]; env: Record<string, string>; polyfills: readonly ("browser" | "nodejs" | "wapo")[] },
    callback: (outcome: [error: string | null, output: any, serialized: string | null, logs: string | null]) => void,
  ): WapoId;
  /** Calls `module.exports` of a script, if it is a function. */
  callModuleEntry(): Promise<void>;
  /** Keeps records of the log instead of writing them. */
  useBufferedLogs(isOn: boolean): void;

  streamOpenRead(stream: WapoReadStream, callback: (...event: ["data", Uint8Array<ArrayBuffer>] | ["end", null] | ["error", string]) => void): WapoId;
  streamOpenWrite(stream: WapoWriteStream): WapoWriter;
  streamWriteChunk(writer: WapoWriter, chunk: WapoBytes, callback?: (ok: boolean, error: string | null) => void): void;
  streamClose(writer: WapoWriter): void;
  /** Copies to the end. */
  streamBridge(streams: { input: WapoReadStream; output: WapoWriteStream }): WapoId;

  wsOpen(
    request: { url: string | URL; headers?: WapoHeaders },
    callback: (...event: ["open", WapoSocket] | ["message", WapoMessage] | ["error", string]) => void,
  ): WapoId;
  wsSend(socket: WapoSocket, message: { kind: "text"; data: string } | { kind: "binary"; data: WapoBytes }): void;
  wsClose(socket: WapoSocket): void;
}

declare var Wapo: WapoObject;

/** A type: its number in the registry, its name, or its text, such as `[(str, u32)]`. */
type ScaleType = number | string;
/** Types that were parsed, or their text. */
type ScaleRegistry = ScaleTypes | string;

/** What {@link ScaleObject.parseTypes} gives. */
interface ScaleTypes {
  /** Not there; it tells a registry from other objects. */
  readonly __types?: never;
}

declare class ScaleCodec {
  constructor(type: ScaleType | readonly ScaleType[], types?: ScaleRegistry);
  encode(value: unknown): Uint8Array<ArrayBuffer>;
  decode(bytes: Uint8Array): any;
}

/** The codec of Substrate: values to bytes and back, by types that a text describes. */
interface ScaleObject {
  parseTypes(text: string, options?: { no_std?: boolean }): ScaleTypes;
  appendTypes(types: ScaleTypes, text: string): void;
  builtinTypes(): string;
  encode(value: unknown, type: ScaleType, types?: ScaleRegistry): Uint8Array<ArrayBuffer>;
  decode(bytes: Uint8Array, type: ScaleType, types?: ScaleRegistry): any;
  encodeAll(values: readonly unknown[], list: readonly ScaleType[], types?: ScaleRegistry): Uint8Array<ArrayBuffer>;
  decodeAll(bytes: Uint8Array, list: readonly ScaleType[], types?: ScaleRegistry): any[];
  codec(type: ScaleType | readonly ScaleType[], types?: ScaleRegistry): ScaleCodec;
}

declare var SCALE: ScaleObject;

declare module "*.txt" {
  const text: string;
  export default text;
}
declare module "*.html" {
  const text: string;
  export default text;
}
declare module "*.css" {
  const text: string;
  export default text;
}
declare module "*.md" {
  const text: string;
  export default text;
}
declare module "*.svg" {
  const text: string;
  export default text;
}
declare module "*.pem" {
  const text: string;
  export default text;
}

declare module "wapo:sockets" {
  /** Why something of the network failed, with a code to compare. */
  export class SocketError extends TypeError {
    constructor(message?: string, options?: { code?: string; cause?: unknown });
    readonly code: string;
  }
  export type SocketAddress = string | { hostname: string; port: number };
  /** A certificate chain and its key in PEM: both or none. */
  export interface Identity {
    certificate?: string | undefined;
    key?: string | undefined;
  }
  export interface ConnectOptions extends Identity {
    secureTransport?: "off" | "on" | "starttls";
    allowHalfOpen?: boolean;
    /** The server's name, where it is another one than the host's. */
    sni?: string;
    alpn?: readonly string[];
    /** Certificates in PEM that are trusted. */
    roots?: string;
  }
  export interface SocketInfo {
    readonly remoteAddress: string | null;
    readonly localAddress: string | null;
    readonly alpn: string | null;
    readonly serverName?: string | null;
  }
  export class Socket {
    private constructor();
    readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
    readonly writable: WritableStream<Uint8Array | ArrayBuffer | ArrayBufferView | string>;
    readonly opened: Promise<SocketInfo>;
    readonly closed: Promise<void>;
    readonly upgraded: boolean;
    readonly secureTransport: "off" | "on" | "starttls";
    close(): Promise<void>;
    startTls(options?: Identity & { serverName?: string; alpn?: readonly string[]; roots?: string }): Socket;
  }
  export class Listener implements AsyncIterableIterator<Socket> {
    private constructor();
    readonly address: string | null;
    accept(): Promise<Socket>;
    close(): void;
    next(): Promise<IteratorResult<Socket>>;
    return(value?: unknown): Promise<IteratorResult<Socket>>;
    [Symbol.asyncIterator](): this;
  }
  export interface Datagram {
    readonly data: Uint8Array<ArrayBuffer>;
    readonly address: string;
  }
  export class UdpSocket implements AsyncIterableIterator<Datagram> {
    private constructor();
    readonly address: string;
    connect(target: SocketAddress): Promise<void>;
    send(data: string | Uint8Array | ArrayBuffer | ArrayBufferView, target?: SocketAddress): Promise<void>;
    sendAll(datagrams: Iterable<{ data: string | Uint8Array | ArrayBuffer | ArrayBufferView; address?: SocketAddress | null }>): Promise<void>;
    receive(): Promise<Datagram>;
    receiveAll(): Promise<Datagram[]>;
    close(): void;
    next(): Promise<IteratorResult<Datagram>>;
    return(value?: unknown): Promise<IteratorResult<Datagram>>;
    [Symbol.asyncIterator](): this;
  }
  /** A name on the worker's TLS port, or a port of the app. */
  export type ListenOptions =
    | { serverName: string; certificate: string; key: string; alpn?: readonly string[] }
    | { serverName: string; attested: true; alpn?: readonly string[] }
    | (Identity & { port: number; hostname?: string; attested?: boolean | readonly string[]; backlog?: number; keepAlive?: number; proxyHeader?: boolean });

  export function connect(address: SocketAddress, options?: ConnectOptions): Socket;
  export function listen(options: ListenOptions & { allowHalfOpen?: boolean }): Listener;
  export function udp(options?: { port?: number; hostname?: string }): UdpSocket;
  const sockets: { Listener: typeof Listener; Socket: typeof Socket; SocketError: typeof SocketError; UdpSocket: typeof UdpSocket; connect: typeof connect; listen: typeof listen; udp: typeof udp };
  export default sockets;
}

declare module "wapo:http" {
  import { SocketError, type ListenOptions } from "wapo:sockets";
  export interface Server {
    readonly address: string | null;
    /** Takes no more connections; requests that are under way are answered. */
    close(): void;
  }
  type Handler = (request: Request, env: WapoEnv, ctx: ExecutionContext) => Response | Promise<Response>;
  export function serve(options: ListenOptions & WapoServerLimits, handler: Handler | { fetch: Handler }): Server;
  export { SocketError };
  const http: { serve: typeof serve; SocketError: typeof SocketError };
  export default http;
}

declare module "wapo:test" {
  export interface TestOptions {
    skip?: boolean | string;
    todo?: boolean | string;
    only?: boolean;
    /** Milliseconds, of the clock and of the processor; 0 for no limit. */
    timeout?: number;
  }
  type Done = (error?: unknown) => void;
  type TestFn = (this: TestContext, t: TestContext, done: Done) => unknown;
  type HookFn = (t: TestContext | undefined, done: Done) => unknown;

  export interface TestContext {
    readonly name: string;
    readonly fullName: string;
    /** Aborts when the test has used up its time. */
    readonly signal: AbortSignal;
    readonly mock: MockTracker;
    /** The functions of `wapo:assert`, counted for {@link plan}. */
    readonly assert: Omit<typeof import("wapo:assert"), "AssertionError" | "default" | "strict" | "assert">;
    test(name: string, options: TestOptions, fn: TestFn): Promise<void>;
    test(name: string, fn: TestFn): Promise<void>;
    test(fn: TestFn): Promise<void>;
    before(fn: HookFn, options?: { timeout?: number }): void;
    after(fn: HookFn, options?: { timeout?: number }): void;
    beforeEach(fn: HookFn, options?: { timeout?: number }): void;
    afterEach(fn: HookFn, options?: { timeout?: number }): void;
    skip(reason?: string): void;
    todo(reason?: string): void;
    plan(count: number): void;
    diagnostic(text: string): void;
  }

  interface Adding<Fn> {
    (name: string, options: TestOptions, fn?: Fn): Promise<void>;
    (name: string, fn?: Fn): Promise<void>;
    (fn: Fn): Promise<void>;
  }
  interface Registrar<Fn> extends Adding<Fn> {
    skip: Adding<Fn>;
    todo: Adding<Fn>;
    only: Adding<Fn>;
  }
  type SuiteFn = (suite: { readonly name: string; readonly fullName: string }) => void;
  type Hook = (fn: HookFn, options?: { timeout?: number }) => void;

  export interface MockCall<F extends (...args: any[]) => any> {
    arguments: Parameters<F>;
    result: ReturnType<F> | undefined;
    error: unknown;
    this: unknown;
    target: unknown;
    stack: Error;
  }
  export interface MockContext<F extends (...args: any[]) => any> {
    readonly calls: MockCall<F>[];
    callCount(): number;
    resetCalls(): void;
    mockImplementation(implementation: F): void;
    mockImplementationOnce(implementation: F, at?: number): void;
    restore(): void;
  }
  export type Mock<F extends (...args: any[]) => any> = F & { mock: MockContext<F> };
  export interface MockTracker {
    fn<F extends (...args: any[]) => any>(original?: F, implementation?: F): Mock<F>;
    method<T extends object, K extends keyof T>(object: T, name: K, implementation?: T[K]): T[K] extends (...args: any[]) => any ? Mock<T[K]> : never;
    reset(): void;
    restoreAll(): void;
  }

  export const test: Registrar<TestFn> & { test: Registrar<TestFn>; describe: Registrar<SuiteFn>; mock: MockTracker };
  export const it: typeof test;
  export const describe: Registrar<SuiteFn>;
  export const suite: typeof describe;
  export const skip: Adding<TestFn>;
  export const todo: Adding<TestFn>;
  export const only: Adding<TestFn>;
  export const before: Hook;
  export const after: Hook;
  export const beforeEach: Hook;
  export const afterEach: Hook;
  export const mock: MockTracker;
  export default test;
}

declare module "wapo:assert" {
  type Message = string | Error;
  type Expected = RegExp | (new (...args: any[]) => object) | ((error: any) => boolean) | object | Error;

  export class AssertionError extends Error {
    constructor(options: { message?: string; actual?: unknown; expected?: unknown; operator?: string });
    readonly code: "ERR_ASSERTION";
    readonly generatedMessage: boolean;
    readonly actual: unknown;
    readonly expected: unknown;
    readonly operator: string;
  }
  export function ok(value: unknown, message?: Message): asserts value;
  export function equal(actual: unknown, expected: unknown, message?: Message): void;
  export function notEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function strictEqual<T>(actual: unknown, expected: T, message?: Message): asserts actual is T;
  export function notStrictEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function deepEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function notDeepEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function deepStrictEqual<T>(actual: unknown, expected: T, message?: Message): asserts actual is T;
  export function notDeepStrictEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function partialDeepStrictEqual(actual: unknown, expected: unknown, message?: Message): void;
  export function fail(message?: Message): never;
  export function ifError(value: unknown): asserts value is null | undefined;
  export function match(text: string, regexp: RegExp, message?: Message): void;
  export function doesNotMatch(text: string, regexp: RegExp, message?: Message): void;
  export function throws(action: () => unknown, expected?: Expected | string, message?: Message): void;
  export function doesNotThrow(action: () => unknown, message?: Message): void;
  export function rejects(action: Promise<unknown> | (() => Promise<unknown>), expected?: Expected | string, message?: Message): Promise<void>;
  export function doesNotReject(action: Promise<unknown> | (() => Promise<unknown>), message?: Message): Promise<void>;
  export function assert(value: unknown, message?: Message): asserts value;
  export namespace assert {
    export {
      AssertionError, ok, equal, notEqual, strictEqual, notStrictEqual, deepEqual, notDeepEqual, deepStrictEqual, notDeepStrictEqual, partialDeepStrictEqual,
      fail, ifError, match, doesNotMatch, throws, doesNotThrow, rejects, doesNotReject, strict,
    };
  }
  export const strict: typeof assert;
  export default assert;
}

declare module "node:test" {
  export * from "wapo:test";
  export { default } from "wapo:test";
}

declare module "node:assert" {
  export * from "wapo:assert";
  export { default } from "wapo:assert";
}

declare module "node:assert/strict" {
  export * from "wapo:assert";
  export { default } from "wapo:assert";
}
