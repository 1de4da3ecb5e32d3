// Follows the log of an app through breaks of the connection. Of a page only whether it
// is visible; what becomes of the lines is for the code that opened it.

import { followLog } from "./rpc.js";

/** First and longest pause before the stream is opened again. */
const AGAIN_MS = 1000;
const AGAIN_MS_MAX = 15_000;

/** The lines of one app at a time, each once. */
export class LogStream {
  #address = null;
  #controller = null;
  #last = null;
  #tail;
  #onEvent;
  #onStatus;

  /**
   * @param {object} options
   * @param {number} options.tail lines from before that are asked for
   * @param {(event: "message" | "missed", data: object) => void} options.onEvent
   * @param {(text: string | null) => void} options.onStatus null when lines come
   */
  constructor({ tail, onEvent, onStatus = () => {} }) {
    this.#tail = tail;
    this.#onEvent = onEvent;
    this.#onStatus = onStatus;
    // A browser has few connections to one server; hidden tabs must not hold them.
    document.addEventListener("visibilitychange", () => {
      if (this.#address === null) return;
      if (document.visibilityState === "visible") this.#connect();
      else this.#controller?.abort();
    });
  }

  get address() {
    return this.#address;
  }

  /** Follows the log of another app. */
  open(address) {
    this.close();
    this.#address = address;
    this.#last = { seq: -1, time_ms: 0 };
    this.#onStatus("connecting");
    this.#connect();
  }

  close() {
    this.#controller?.abort();
    this.#controller = null;
    this.#address = null;
  }

  /** Opens the stream, unless nobody would see what it brings. */
  #connect() {
    this.#controller?.abort();
    if (document.visibilityState !== "visible") return;
    this.#controller = new AbortController();
    this.#follow(this.#address, this.#controller.signal);
  }

  async #follow(address, signal) {
    let pauseMs = AGAIN_MS;
    while (!signal.aborted) {
      try {
        const onOpen = () => {
          pauseMs = AGAIN_MS;
          this.#onStatus(null);
        };
        await followLog(address, { tail: this.#tail, signal, onOpen }, (event, data) => {
          if (!signal.aborted) this.#receive(event, data);
        });
        this.#onStatus("The stream has ended, opening it again");
      } catch (error) {
        if (signal.aborted) return;
        if (error.status >= 400 && error.status < 500) {
          this.#onStatus(error.message);
          return;
        }
        this.#onStatus(`The stream broke off, trying again in ${Math.round(pauseMs / 1000)} s`);
      }
      await new Promise((resolve) => { setTimeout(resolve, pauseMs); });
      pauseMs = Math.min(pauseMs * 2, AGAIN_MS_MAX);
    }
  }

  #receive(event, data) {
    if (event !== "message" && event !== "missed") return;
    if (event === "message") {
      // After a break, the tail brings lines that are here already.
      if (data.seq <= this.#last.seq && data.time_ms <= this.#last.time_ms) return;
      this.#last = data;
    }
    this.#onEvent(event, data);
  }
}
