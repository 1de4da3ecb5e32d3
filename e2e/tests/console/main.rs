//! The console, tested as its users have it: in Chromium, with a daemon behind.
//!
//! Needs `chromium` and `chromedriver` (`cargo xtask setup`) and fails without
//! them. Each test has a daemon and a browser of its own; pictures for people are
//! left in `target/console-screenshots/`. What the console's modules compute is
//! tested beside them, in `crates/wapod/console/tests`.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod audit;
mod driver;
mod page;

mod apps;
mod deploying;
mod limits;
mod looks;
mod outage;
mod parts;
mod quotas;
mod scripts;
mod token;
mod verify;
