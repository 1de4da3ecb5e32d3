// URLPattern, of urlpattern-polyfill (MIT, bundled at build).
// URL Pattern Standard, 1. It uses the global URL, which boot-web has set before anything is matched.
import { URLPattern } from "npm:urlpattern-polyfill/urlpattern";
import { finish } from "./idl.js";

export { URLPattern };
finish(URLPattern, "URLPattern");
