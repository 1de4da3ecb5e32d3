// What listeners of the program's own are told: for `wapo:sockets`, `wapo:http` and `Wapo.httpsListen`.
import native from "wapo:native";
import { dictionary, enforceRange, text } from "../web/idl.js";

export const ALL = "0.0.0.0";

// Address and port as one text; IPv6 addresses get their brackets.
export function authority(hostname, port) {
  return hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

export function portOf(value, where) {
  return enforceRange(value, 65535, `${where}: the port`);
}

const maybe = (value, convert) => (value === undefined || value === null ? undefined : convert(value));

export function names(value, where) {
  if (!Array.isArray(value)) throw new TypeError(`${where}: alpn is a list of names of protocols`);
  return value.map(text);
}

// A certificate chain and its key in PEM: both or none.
export function identity({ certificate, key }, where) {
  if ((certificate ?? null) === null && (key ?? null) === null) return {};
  if (typeof certificate !== "string" || typeof key !== "string") throw new TypeError(`${where}: certificate and key are texts in PEM, and go together`);
  return { certificate, key };
}

// A certificate of the worker's that attests the app: `true`, or a list of the names that it is to have; undefined for none.
export function attestedNames(value, wish, where) {
  if (value === undefined || value === null || value === false) return undefined;
  if (wish.key !== undefined) throw new TypeError(`${where}: attested does not go with a certificate of the program's own`);
  if (value === true) return [];
  if (!Array.isArray(value)) throw new TypeError(`${where}: attested is true or a list of host names and addresses`);
  return value.map(text);
}

// Listens as the options say: { serverName, certificate, key, attested, alpn } on the worker's TLS port, or { port, hostname,
// certificate, key, attested, backlog, keepAlive, proxyHeader } on a port of the app.
export function listenNative(options, where) {
  const o = dictionary(options, where);
  const wish = identity(o, where);
  wish.attested = attestedNames(o.attested, wish, where);
  if (o.serverName !== undefined) {
    if (o.port !== undefined) throw new TypeError(`${where}: serverName and port do not go together`);
    if (wish.key === undefined && wish.attested === undefined) throw new TypeError(`${where}: a serverName needs a certificate and its key, or attested`);
    if (wish.attested?.length > 0) throw new TypeError(`${where}: with a serverName attested is true: the certificate is for that name`);
    return native.net.listen({ ...wish, serverName: text(o.serverName), alpn: maybe(o.alpn, (list) => names(list, where)) });
  }
  if (o.port === undefined) throw new TypeError(`${where}: a port or a serverName is needed`);
  if (o.alpn !== undefined) throw new TypeError(`${where}: alpn goes with serverName only`);
  return native.net.listen({
    ...wish,
    address: authority(maybe(o.hostname, text) ?? ALL, portOf(o.port, where)),
    backlog: maybe(o.backlog, (n) => enforceRange(n, 1024, `${where}: backlog`)),
    keepAlive: maybe(o.keepAlive, (n) => enforceRange(n, 32767, `${where}: keepAlive`)),
    proxyHeader: maybe(o.proxyHeader, Boolean),
  });
}

// Limits of a server of HTTP.
export function limitsOf({ maxConnections, headTimeout, idleTimeout }, where) {
  return {
    maxConnections: maybe(maxConnections, (n) => enforceRange(n, 65535, `${where}: maxConnections`)),
    headTimeout: maybe(headTimeout, (n) => enforceRange(n, 2 ** 31 - 1, `${where}: headTimeout`)),
    idleTimeout: maybe(idleTimeout, (n) => enforceRange(n, 2 ** 31 - 1, `${where}: idleTimeout`)),
  };
}
