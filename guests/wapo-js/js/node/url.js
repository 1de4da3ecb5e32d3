// node:url: the engine's URL, and the parser of long ago (parse, format, resolve) from the package `url`.
import legacy from "npm:url";
import { codedError, needString, wrongType } from "../node-parts/errors.js";

const { URL, URLPattern, URLSearchParams } = globalThis;
export { URL, URLPattern, URLSearchParams };
export const { Url, parse, resolve, resolveObject } = legacy;

export function format(value, options = undefined) {
  if (!(value instanceof URL)) return legacy.format(value);
  const { fragment = true, search = true, auth = true } = options ?? {};
  const url = new URL(value.href);
  if (!fragment) url.hash = "";
  if (!search) url.search = "";
  if (!auth) url.username = url.password = "";
  return url.href;
}

export function fileURLToPath(value) {
  const url = typeof value === "string" ? new URL(value) : value;
  if (!(url instanceof URL)) throw wrongType("path", "of type string or an instance of URL", value);
  if (url.protocol !== "file:") throw codedError(new TypeError("The URL must be of scheme file"), "ERR_INVALID_URL_SCHEME");
  if (url.hostname !== "") throw codedError(new TypeError('File URL host must be "localhost" or empty'), "ERR_INVALID_FILE_URL_HOST");
  if (/%2f/i.test(url.pathname)) throw codedError(new TypeError("File URL path must not include encoded / characters"), "ERR_INVALID_FILE_URL_PATH");
  return decodeURIComponent(url.pathname);
}

const ESCAPED = /[%\\\n\r\t?#]/g;

export function pathToFileURL(path) {
  const text = needString(path, "path");
  const absolute = text.startsWith("/") ? text : `/${text}`;
  return new URL(`file://${absolute.replace(ESCAPED, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)}`);
}

const host = (domain) => {
  try {
    return new URL(`ws://${domain}`).hostname;
  } catch {
    return "";
  }
};
export const domainToASCII = (domain) => host(String(domain));

export function urlToHttpOptions(url) {
  const { protocol, hostname, hash, search, pathname, href, username, password, port } = url;
  return {
    __proto__: null, ...url, protocol, hostname: hostname.startsWith("[") ? hostname.slice(1, -1) : hostname, hash, search, pathname, path: `${pathname}${search}`, href,
    ...(port === "" ? {} : { port: Number(port) }),
    ...(username === "" && password === "" ? {} : { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` }),
  };
}

export default {
  URL, URLPattern, URLSearchParams, Url, domainToASCII, fileURLToPath, format, parse, pathToFileURL, resolve, resolveObject, urlToHttpOptions,
};
