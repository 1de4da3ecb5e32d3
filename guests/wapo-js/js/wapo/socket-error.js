// SocketError: why something of the network failed, with a code to compare.

export class SocketError extends TypeError {
  constructor(message, options = undefined) {
    super(message, options);
    this.code = options?.code ?? "failed";
    // Frames of the platform tell the program's author nothing.
    const stack = String(this.stack ?? "").split("\n").filter((line) => !line.includes("wapo:boot/")).join("\n");
    Object.defineProperty(this, "stack", { value: /^\s*at (?!.*\(native\)$)/m.test(stack) ? stack : "", writable: true, configurable: true });
  }
}
Object.defineProperty(SocketError, "name", { value: "SocketError", configurable: true });
Object.defineProperty(SocketError.prototype, "name", { value: "SocketError", writable: true, configurable: true });

// What natives throw carries its code; anything else is a mistake of the program, or of ours, and stays what it is.
export function socketError(error) {
  if (error instanceof SocketError || typeof error?.code !== "string") return error;
  return new SocketError(error.message, { code: error.code });
}

export function rethrown(action) {
  try {
    return action();
  } catch (error) {
    throw socketError(error);
  }
}
