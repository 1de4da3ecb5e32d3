// URLPattern, of urlpattern-polyfill (MIT, bundled at build).
// URL Pattern Standard, 1. It uses the global URL, which boot-web has set before anything is matched.
export { URLPattern } from "npm:urlpattern-polyfill/urlpattern";
