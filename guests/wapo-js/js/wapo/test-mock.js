// Functions that remember how they were called: `mock.fn` and `mock.method` of `test.js`.

class MockFunctionContext {
  #calls = [];
  #original;
  #once = new Map();
  #restore;
  constructor(original, restore) {
    this.#original = original;
    this.#restore = restore;
    this.implementation = original;
  }
  get calls() { return [...this.#calls]; }
  callCount() { return this.#calls.length; }
  resetCalls() { this.#calls = []; }
  mockImplementation(implementation) { this.implementation = implementation; }
  mockImplementationOnce(implementation, at = this.#calls.length) { this.#once.set(at, implementation); }
  restore() {
    this.implementation = this.#original;
    this.#restore?.();
  }
  run(self, args, target) {
    const at = this.#calls.length, implementation = this.#once.get(at) ?? this.implementation;
    this.#once.delete(at);
    const call = { arguments: args, this: self, target, result: undefined, error: undefined, stack: new Error() };
    this.#calls.push(call);
    try {
      call.result = target === undefined ? Reflect.apply(implementation, self, args) : Reflect.construct(implementation, args, target);
      return call.result;
    } catch (error) {
      call.error = error;
      throw error;
    }
  }
}

export class MockTracker {
  #contexts = [];

  fn(original = () => {}, implementation = original) {
    return this.#wrap(original, typeof implementation === "function" ? implementation : original);
  }

  method(object, name, implementation = undefined) {
    const descriptor = Object.getOwnPropertyDescriptor(object, name);
    const original = object[name];
    if (typeof original !== "function") throw new TypeError(`mock.method: ${String(name)} is no method of the object`);
    const mocked = this.#wrap(original, typeof implementation === "function" ? implementation : original, () => {
      if (descriptor === undefined) delete object[name];
      else Object.defineProperty(object, name, descriptor);
    });
    Object.defineProperty(object, name, { value: mocked, writable: true, configurable: true, enumerable: descriptor?.enumerable ?? false });
    return mocked;
  }

  // Calls are forgotten, and what was replaced is there again.
  reset() {
    this.restoreAll();
    this.#contexts = [];
  }

  restoreAll() {
    for (const context of this.#contexts) context.restore();
  }

  #wrap(original, implementation, restore = undefined) {
    const context = new MockFunctionContext(original, restore);
    context.implementation = implementation;
    this.#contexts.push(context);
    return new Proxy(original, {
      apply: (_, self, args) => context.run(self, args),
      construct: (_, args, target) => context.run(undefined, args, target),
      get: (target, key) => (key === "mock" ? context : Reflect.get(target, key)),
    });
  }
}

export const mock = new MockTracker();
