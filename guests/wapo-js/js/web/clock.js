// Time since the instance began, by the engine's clock. Not called while boot modules are evaluated.
// High Resolution Time, 4.
import native from "wapo:native";

export function now() {
  return native.time.now();
}
