// Where an app answers: below /app/ on the user port, and under a host name of
// its own, where it has cookies and absolute paths to itself.

import { fromHex, toBase32 } from "./format.js";

/** Addresses that mean "every interface": the browser needs one of them. */
const UNSPECIFIED = ["0.0.0.0", "[::]", "::", ""];

/**
 * @param {{user_address?: string, user_tls?: boolean, base_domain?: string}} info
 * @param {{address: string, name?: string, instance_list?: object[]}} app
 * @param {string} ownHost host name by which the console itself was reached
 * @returns {{path: string, host: string} | null} null while the worker does not say where, and
 *   for apps that speak on ports of their own or take queries, and no HTTP requests
 */
export function linksOf(info, app, ownHost) {
  const at = info?.user_address?.lastIndexOf(":") ?? -1;
  if (at < 0 || isOffTheGateway(app)) return null;
  const bound = info.user_address.slice(0, at);
  const port = info.user_address.slice(at + 1);
  const host = UNSPECIFIED.includes(bound) ? ownHost : bound;
  const label = app.name || toBase32(fromHex(app.address));
  const scheme = info.user_tls ? "https" : "http";
  return {
    path: `${scheme}://${host}:${port}/app/${app.address.replace(/^0x/, "")}/`,
    host: `${scheme}://${label}.${info.base_domain || "localhost"}:${port}/`,
  };
}

/** An app without instances may take requests once it has one. */
function isOffTheGateway({ instance_list: instances = [] }) {
  const doesOtherThings = instances.some(
    (one) => one.takes_queries || one.listening?.length > 0 || one.listening_udp?.length > 0
      || one.server_names?.length > 0,
  );
  return doesOtherThings && !instances.some((one) => one.takes_http);
}
