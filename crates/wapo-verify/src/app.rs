//! Evidence of an app, from the quote to the app's claims. Bytes in, checks out; called by `wapo verify app`.
