//! A real browser, driven over the DevTools protocol: one page at a time, in one of its tabs.
//!
//! The protocol goes through two named pipes (`--remote-debugging-pipe`): no port, and no library for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;

use super::doors::SOON;
use super::eventually;
use super::process::Process;

/// What a browser may be called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// What the browser says when a page went away in the middle of an answer.
const NAVIGATED: &str = "navigated or closed";
/// Longest time for one command; loading a page is one.
const ANSWER: Duration = Duration::from_secs(40);

pub(crate) struct Browser {
    process: Process,
    commands: pipe::Sender,
    answers: BufReader<pipe::Receiver>,
    session: Option<String>,
    tab: Tab,
    number: u64,
    /// What the page did wrong: exceptions, and what its content security policy forbade.
    complaints: Vec<String>,
    /// What the page warned of on its console.
    warnings: Vec<String>,
}

/// One of the browser's tabs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tab {
    target: String,
    session: String,
}

impl Browser {
    /// With an empty page of 1280 × 900.
    pub(crate) async fn start() -> Browser {
        let process = Process::new("browser");
        let [commands, answers] = ["commands", "answers"].map(|name| process.dir().join(name));
        for fifo in [&commands, &answers] {
            assert!(Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
        }
        let answers = pipe::OpenOptions::new().open_receiver(&answers).expect("a pipe to read");
        process.spawn(command(process.dir()));
        let commands =
            eventually(SOON, "the browser opens its pipe", async || pipe::OpenOptions::new().open_sender(&commands))
                .await;
        let answers = BufReader::new(answers);
        let mut browser = Browser {
            process,
            commands,
            answers,
            session: None,
            tab: Tab::default(),
            number: 0,
            complaints: Vec::new(),
            warnings: Vec::new(),
        };
        browser.open_tab().await;
        browser.size(1280, 900).await;
        browser
    }

    /// Opens another tab, and goes on in it.
    pub(crate) async fn open_tab(&mut self) -> Tab {
        self.session = None;
        let target = self.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let target = target["targetId"].as_str().expect("a target").to_owned();
        let session = self.call("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let tab = Tab { target, session };
        self.go_on_in(&tab);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            self.call(domain, json!({})).await;
        }
        tab
    }

    /// The tab in which everything happens.
    pub(crate) fn tab(&self) -> Tab {
        self.tab.clone()
    }

    /// Lets everything happen in another tab, from now on.
    pub(crate) fn go_on_in(&mut self, tab: &Tab) {
        self.session = Some(tab.session.clone());
        self.tab = tab.clone();
    }

    /// The same, and brings it to the front: what is behind it is hidden.
    pub(crate) async fn show(&mut self, tab: &Tab) {
        self.go_on_in(tab);
        self.call("Page.bringToFront", json!({})).await;
    }

    /// Closes a tab, as a user does.
    pub(crate) async fn close(&mut self, tab: &Tab) {
        self.session = None;
        self.call("Target.closeTarget", json!({"targetId": tab.target})).await;
        self.session = Some(self.tab.session.clone());
    }

    /// Runs a script in each page of this tab from now on, before those of the page.
    pub(crate) async fn before_pages(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Takes the network away from this tab, or gives it back.
    pub(crate) async fn offline(&mut self, offline: bool) {
        let conditions = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.call("Network.emulateNetworkConditions", conditions).await;
    }

    /// Waits until a page has warned of this.
    pub(crate) async fn until_warned(&mut self, of: &str) {
        eventually(SOON, of, async || {
            // What the browser says meanwhile comes with the answer.
            self.call("Runtime.evaluate", json!({"expression": "0"})).await;
            if self.warnings.iter().any(|said| said.contains(of)) { Ok(()) } else { Err(self.warnings.join("\n")) }
        })
        .await;
    }

    /// What the pages warned of on their consoles.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Goes to a page.
    pub(crate) async fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
    }

    /// The size of what is seen of the page.
    pub(crate) async fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the page is told about the theme of the system: "dark" or "light".
    pub(crate) async fn theme(&mut self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// The value of a script in the page.
    pub(crate) async fn eval(&mut self, script: &str) -> Value {
        self.try_eval(script).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    async fn try_eval(&mut self, script: &str) -> Result<Value, String> {
        let asked = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.try_call("Runtime.evaluate", asked).await?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until a script is true in the page.
    pub(crate) async fn until(&mut self, script: &str) {
        eventually(SOON, script, async || match self.try_eval(script).await {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(value) => {
                let seen = self.try_eval("document.body.innerText").await.unwrap_or_default();
                Err(format!("{value}; the page says: {seen}"))
            }
            Err(e) => Err(e),
        })
        .await;
    }

    /// What an element shows, as text.
    pub(crate) async fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?}).innerText")).await;
        text.as_str().unwrap_or_else(|| panic!("no text at {selector}: {text}")).to_owned()
    }

    /// Presses what is at a selector, once it is there: a page that was opened may still be read.
    pub(crate) async fn click(&mut self, selector: &str) {
        self.until(&format!("document.querySelector({selector:?}) !== null")).await;
        let clicked = self.try_eval(&format!("document.querySelector({selector:?}).click()")).await;
        // A click may lead to another page, and nobody is left to answer.
        if let Err(error) = clicked
            && !error.contains(NAVIGATED)
        {
            panic!("click on {selector}: {error}");
        }
    }

    /// Chooses or types a value.
    pub(crate) async fn set(&mut self, selector: &str, value: &str) {
        let script = format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.value = {value:?}; \
             it.dispatchEvent(new Event('input', {{bubbles: true}})); \
             it.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
        );
        self.eval(&script).await;
    }

    /// Presses a key, like "ArrowLeft", on what has the focus.
    pub(crate) async fn press(&mut self, key: &str) {
        // What the browser itself does upon a key goes by its number, and upon Enter by its text.
        let (number, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => (0, ""),
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": number, "text": text});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// What a screen reader is told: role and name of all that is not ignored.
    pub(crate) async fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let text = |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().expect("nodes").iter().filter(|node| node["ignored"] == false);
        nodes.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// Keeps a picture of the page, if the variable SCREENSHOTS names a folder for them.
    pub(crate) async fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("SCREENSHOTS") else { return };
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", asked).await;
        let bytes = from_base64(picture["data"].as_str().expect("a picture"));
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), bytes).expect("a place for pictures");
    }

    /// Fails if the page threw an exception, or tried what its content security policy forbids.
    pub(crate) fn assert_content(&self) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let answer = tokio::time::timeout(ANSWER, self.ask(method, params)).await;
        answer.unwrap_or_else(|_| panic!("no answer to {method}; the browser wrote:\n{}", self.process.log_tail()))
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).await.expect("a browser that listens");
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).await.expect("a browser that answers");
            assert_eq!(bytes.pop(), Some(0), "the browser ended:\n{}", self.process.log_tail());
            let message: Value = serde_json::from_slice(&bytes).expect("JSON");
            if message["id"] == self.number {
                return match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let entry = &event["params"]["entry"];
        let security = entry["source"] == "security" || entry["text"].to_string().contains("Content Security");
        if event["method"] == "Runtime.consoleAPICalled" && event["params"]["type"] == "warning" {
            let arguments = event["params"]["args"].as_array().into_iter().flatten();
            let text = |said: &Value| {
                said["value"].as_str().unwrap_or_default().to_owned() + said["description"].as_str().unwrap_or_default()
            };
            self.warnings.push(arguments.map(text).collect::<Vec<_>>().join(" "));
        }
        if event["method"] == "Runtime.exceptionThrown" || event["method"] == "Log.entryAdded" && security {
            self.complaints.push(event["params"].to_string());
        }
    }
}

/// The browser with its protocol on the descriptors 3 and 4, which a shell connects.
fn command(dir: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let name = NAMES.into_iter().find(is_there).expect("a browser; run make test, which installs it");
    let mut command = Command::new("sh");
    command
        .current_dir(dir)
        .args(["-c", r#"exec "$0" "$@" 3<commands 4>answers"#, name])
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"])
        .args(["--remote-debugging-pipe", "--no-first-run", "--lang=en-GB"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg("about:blank");
    command
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(value(*byte))) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
