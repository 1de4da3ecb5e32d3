// Numbers, sizes, times and bytes as text, and back. Pure functions.

const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const SIZE_POWERS = { "": 0, k: 1, m: 2, g: 3, t: 4 };
const COUNT_UNITS = ["", " k", " M", " G", " T"];

/** Three significant digits, without an exponent. */
function short(value) {
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** The value divided until it is below `limit`, and how often that took. */
function scaled(value, step, limit, units) {
  let power = 0;
  while (value >= limit && power < units - 1) {
    value /= step;
    power += 1;
  }
  return [value, power];
}

/** 1536 -> "1.50 KiB" */
export function formatBytes(bytes) {
  const [value, power] = scaled(Number(bytes ?? 0), 1024, 1000, SIZE_UNITS.length);
  return `${power === 0 ? Math.round(value) : short(value)} ${SIZE_UNITS[power]}`;
}

/** 12345 -> "12.3 k" */
export function formatCount(count) {
  const [value, power] = scaled(Number(count ?? 0), 1000, 1000, COUNT_UNITS.length);
  return `${short(value)}${COUNT_UNITS[power]}`;
}

/** 1234567 -> "1,234,567" */
export function formatExact(count) {
  return Number(count ?? 0).toLocaleString("en-US");
}

/** 93784000 -> "1 d 2 h" */
export function formatDuration(ms) {
  const seconds = Math.floor(Number(ms ?? 0) / 1000);
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** Hours, minutes, seconds and milliseconds in the reader's own zone. */
export function formatClock(ms) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  const thousandths = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${thousandths}`;
}

/** The beginning and the end of a long text such as a hash. */
export function shorten(text, start = 8, end = 6) {
  return text.length <= start + end + 1 ? text : `${text.slice(0, start)}…${text.slice(-end)}`;
}

/**
 * "64M" -> 67108864; suffixes are binary, and "" is `empty`.
 * @throws {RangeError} for anything else
 */
export function parseSize(text, empty = 0) {
  const trimmed = text.trim();
  if (trimmed === "") return empty;
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(trimmed);
  const value = match && Number(match[1]) * 1024 ** SIZE_POWERS[match[2].toLowerCase()];
  if (!match || !Number.isSafeInteger(value)) {
    throw new RangeError(`“${trimmed}” is not a size; write bytes, or 64K, 10M, 1G`);
  }
  return value;
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * "0x01ff" or "01 ff" -> bytes.
 * @throws {RangeError} when it is not hexadecimal
 */
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "").replace(/^0x/i, "");
  if (digits.length % 2 !== 0) {
    throw new RangeError(`${digits.length} hex digits; each byte needs two`);
  }
  if (!/^[0-9a-f]*$/i.test(digits)) {
    const wrong = /[^0-9a-f]/i.exec(digits)[0];
    throw new RangeError(`“${wrong}” is not a hex digit`);
  }
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** Base 32 in lower case without padding (RFC 4648), as in an app's own host name. */
export function toBase32(bytes) {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const groups = bits.match(/.{1,5}/g) ?? [];
  return groups.map((group) => "abcdefghijklmnopqrstuvwxyz234567"[parseInt(group.padEnd(5, "0"), 2)]).join("");
}

/** The bytes as text, or null when they are not UTF-8 that can be shown. */
export function asText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    // Control characters other than tab and line ends mean that it is no text.
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Rows of sixteen bytes with their offset and their characters, like `xxd`. */
export function hexDump(bytes) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const pairs = Array.from(row, (byte, i) => byte.toString(16).padStart(2, "0") + (i === 7 ? " " : ""));
    const characters = Array.from(row, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "."));
    rows.push(`${at.toString(16).padStart(6, "0")}  ${pairs.join(" ").padEnd(48)}  ${characters.join("")}`);
  }
  return rows.join("\n");
}
