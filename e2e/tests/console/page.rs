//! The console in a browser, as a person has it: look, click, type, wait.
//!
//! Clicks and keys are the browser's own, so what is covered, hidden or disabled
//! cannot be used. Every wait ends after [`TIMEOUT`].

use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use e2e::Daemon;
use serde_json::{Value, json};

use crate::audit;
use crate::driver::Driver;

/// Longest wait for what a page shows. A first program in JavaScript has the worker compile
/// the engine, which takes half a minute where other tests keep the machine busy.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Pause between two looks at the page.
const LOOK_PAUSE: Duration = Duration::from_millis(40);

/// The keys that the stories press, as WebDriver numbers them.
pub(crate) mod key {
    pub(crate) const TAB: char = '\u{E004}';
    pub(crate) const ENTER: char = '\u{E007}';
    pub(crate) const SHIFT: char = '\u{E008}';
    pub(crate) const CONTROL: char = '\u{E009}';
    pub(crate) const ESCAPE: char = '\u{E00C}';
}

/// A tab that shows the console of one worker.
pub(crate) struct Page {
    driver: Driver,
    /// `http://127.0.0.1:1234`
    origin: String,
}

/// A daemon with a console.
pub(crate) async fn worker() -> Daemon {
    Daemon::with(|config| config.admin_address = Some(([127, 0, 0, 1], 0).into())).await
}

/// Where the console of a daemon is.
pub(crate) fn origin(daemon: &Daemon) -> String {
    let url = daemon.running().admin_url().expect("an admin port");
    url.trim_end_matches('/').to_owned()
}

impl Page {
    /// Opens the console of a daemon.
    pub(crate) async fn open(daemon: &Daemon) -> Self {
        let page = Self {
            driver: Driver::start().await,
            origin: origin(daemon),
        };
        page.go("/").await;
        page
    }

    /// Opens the console and deploys the sample with a click.
    pub(crate) async fn with_sample(daemon: &Daemon) -> Self {
        let page = Self::open(daemon).await;
        page.click("#apps-sample").await;
        page.until_state("#app-state", "running").await;
        page
    }

    /// The address of the app whose page is open.
    pub(crate) async fn app(&self) -> String {
        let hash = self.script("return location.hash").await;
        let hash = hash.as_str().expect("a text").to_owned();
        let address = hash.split('/').nth(2).expect("the page of an app");
        address.to_owned()
    }

    /// Loads a path of the console.
    pub(crate) async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.driver.post("url", json!({"url": url})).await;
    }

    /// Goes to a page of the console without loading it again.
    pub(crate) async fn show(&self, hash: &str) {
        self.script_with("location.hash = arguments[0]", json!([hash]))
            .await;
    }

    /// Runs a function body in the page.
    pub(crate) async fn script(&self, body: &str) -> Value {
        self.script_with(body, json!([])).await
    }

    /// Runs a function body in the page, with `arguments`.
    pub(crate) async fn script_with(&self, body: &str, arguments: Value) -> Value {
        let arguments = json!({"script": body, "args": arguments});
        self.driver.post("execute/sync", arguments).await
    }

    /// Waits until an expression is true in the page, and gives its value.
    #[track_caller]
    pub(crate) fn until(&self, expression: impl AsRef<str>) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        let body = format!("return ({}) || null", expression.as_ref());
        async move {
            let start = Instant::now();
            loop {
                let value = self.script(&body).await;
                if !value.is_null() {
                    return value;
                }
                if start.elapsed() > TIMEOUT {
                    self.screenshot("failure").await;
                    let shown = self.script("return document.body.innerText").await;
                    let shown = shown.as_str().unwrap_or_default();
                    panic!("{place}: waited for {body}\n--- the page:\n{shown}");
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Waits until an element is on the page and visible.
    #[track_caller]
    pub(crate) fn until_shown(&self, css: &str) -> impl Future<Output = Value> {
        self.until(format!(
            "document.querySelector({css:?})?.checkVisibility()"
        ))
    }

    /// Waits until an element is gone or hidden.
    #[track_caller]
    pub(crate) fn until_hidden(&self, css: &str) -> impl Future<Output = Value> {
        self.until(format!(
            "!document.querySelector({css:?})?.checkVisibility()"
        ))
    }

    /// Waits until an element says `text`, among other things.
    #[track_caller]
    pub(crate) fn until_says(&self, css: &str, text: &str) -> impl Future<Output = Value> {
        self.until(format!(
            "document.querySelector({css:?})?.innerText.includes({text:?})"
        ))
    }

    /// Waits for the state of an app.
    #[track_caller]
    pub(crate) fn until_state(&self, css: &str, state: &str) -> impl Future<Output = Value> {
        let css = format!("{css}[data-state={state:?}]");
        self.until(format!(
            "document.querySelector({css:?})?.checkVisibility()"
        ))
    }

    /// What an element says.
    pub(crate) async fn text(&self, css: &str) -> String {
        let body = "return document.querySelector(arguments[0]).innerText";
        let text = self.script_with(body, json!([css])).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks where an element is, once it is there.
    #[track_caller]
    pub(crate) fn click(&self, css: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        let css = css.to_owned();
        async move {
            let start = Instant::now();
            loop {
                let outcome = match self.driver.element(&css).await {
                    Some(element) => {
                        let command = format!("{element}/click");
                        self.driver.try_post(&command, json!({})).await
                    }
                    None => Err(("no such element".to_owned(), css.clone())),
                };
                let Err((error, text)) = outcome else { return };
                if start.elapsed() > TIMEOUT {
                    self.screenshot("failure").await;
                    panic!("{place}: cannot click {css}: {error}: {text}");
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Writes into a field after what is in it, or gives a file to one.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        let element = self.driver.element(css).await;
        let element = element.unwrap_or_else(|| panic!("there is no {css}"));
        let command = format!("{element}/value");
        self.driver.post(&command, json!({"text": text})).await;
    }

    /// Empties a field, as its user would.
    pub(crate) async fn clear(&self, css: &str) {
        let element = self.driver.element(css).await;
        let element = element.unwrap_or_else(|| panic!("there is no {css}"));
        self.driver
            .post(&format!("{element}/clear"), json!({}))
            .await;
    }

    /// Presses keys one after the other, each held until all are released.
    pub(crate) async fn press(&self, keys: &[char]) {
        let events = |kind: &'static str| {
            let keys = keys.iter();
            keys.map(move |key| json!({"type": kind, "value": key.to_string()}))
        };
        let all: Vec<_> = events("keyDown").chain(events("keyUp")).collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": all}]});
        self.driver.post("actions", actions).await;
    }

    /// Types a text where the focus is.
    pub(crate) async fn type_text(&self, text: &str) {
        for key in text.chars() {
            self.press(&[key]).await;
        }
    }

    /// Presses Tab until an element has the focus.
    #[track_caller]
    pub(crate) fn tab_to(&self, css: &str) -> impl Future<Output = ()> {
        /// Stops of the longest page.
        const STOPS_MAX: usize = 80;
        let place = std::panic::Location::caller();
        let css = css.to_owned();
        async move {
            let body = "return document.activeElement.matches(arguments[0])";
            let mut passed = Vec::new();
            for _ in 0..STOPS_MAX {
                if self.script_with(body, json!([css])).await == true {
                    audit::focus_is_visible(self).await;
                    return;
                }
                self.press(&[key::TAB]).await;
                let stop =
                    "const at = document.activeElement; return at.id || at.className || at.tagName";
                passed.push(self.script(stop).await);
            }
            panic!("{place}: Tab does not reach {css}, only {passed:?}");
        }
    }

    /// Follows a link that opens a tab of its own, looks at what is there with
    /// `look`, an expression to wait for, and comes back.
    pub(crate) async fn visit(&self, link: &str, look: &str, picture: &str) -> Value {
        let own = self.driver.get("window").await;
        self.click(link).await;
        let other = loop {
            let all = self.driver.get("window/handles").await;
            let all = all.as_array().expect("a list").clone();
            if let Some(other) = all.into_iter().find(|tab| *tab != own) {
                break other;
            }
        };
        self.driver.post("window", json!({"handle": other})).await;
        let seen = self.until(look).await;
        self.screenshot(picture).await;
        self.script("window.close()").await;
        self.driver.post("window", json!({"handle": own})).await;
        seen
    }

    /// Lets the page believe in a preference for dark colours, or light ones.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let parameters = json!({"features": features});
        self.driver
            .devtools("Emulation.setEmulatedMedia", parameters)
            .await;
    }

    /// Keeps files whose URL matches a pattern from the page.
    pub(crate) async fn block(&self, pattern: &str) {
        self.driver.devtools("Network.enable", json!({})).await;
        let parameters = json!({"urls": [pattern]});
        self.driver
            .devtools("Network.setBlockedURLs", parameters)
            .await;
    }

    /// Makes the window this large, in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let parameters =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.driver
            .devtools("Emulation.setDeviceMetricsOverride", parameters)
            .await;
    }

    /// Keeps a picture of what is to be seen, for people.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let picture = self.driver.get("screenshot").await;
        let picture = picture.as_str().expect("a picture");
        let picture = BASE64.decode(picture.as_bytes()).expect("Base64");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(path, picture).expect("a picture is written");
    }

    /// What the browser has noted since it was asked last.
    pub(crate) async fn noted(&self, kind: &str) -> Vec<Value> {
        let lines = self.driver.post("se/log", json!({"type": kind})).await;
        lines.as_array().expect("a list").clone()
    }

    /// The end of a story: the page has complained about nothing and asked nobody
    /// but its worker. `expected` are parts of complaints that belong to the story.
    pub(crate) async fn close(self, expected: &[&str]) {
        audit::no_console_messages(&self, expected).await;
        audit::asked_only(&self, &self.origin).await;
    }
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    e2e::guests::root().join("target/console-screenshots")
}
