//! One hostile client: what it does, what it is answered, and what may be stored of it.

use serde_json::{Value, json};

/// Which program is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Anybody may write.
    Open,
    /// There are sites, and addresses have a rate.
    Sites,
}

/// What the client does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// These bytes over and over, one at a time with a while between them, until there is an answer or the end.
    Drip(Vec<u8>),
    /// Waits until there are so many answers.
    Await(usize),
    /// Says that nothing more will come, and goes on listening.
    HalfClose,
}

/// An answer as it has to be.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// What stands in it, in its head or its body.
    pub(super) with: Vec<String>,
    pub(super) without: Vec<String>,
}

/// What becomes of the connection once there are all answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A good request on it is answered next.
    GoesOn,
    /// It is closed.
    Closes,
    /// It is closed, maybe after a 400 that is empty or says that the body broke off: what was sent is no HTTP.
    Broken,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) door: Door,
    pub(super) steps: Vec<Step>,
    pub(super) answers: Vec<Answer>,
    pub(super) end: End,
    /// What is stored: each with its `event_id`, and the fields that matter.
    pub(super) stored: Vec<Value>,
    /// The id of an event of which nothing is known: the client did not wait for the answer, and may get one.
    pub(super) unknown: Option<&'static str>,
}

/// A connection on which these bytes are sent.
pub(super) fn raw(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    Case {
        name: name.into(),
        door: Door::Open,
        steps: vec![Step::Send(bytes.into())],
        answers: Vec::new(),
        end: End::GoesOn,
        stored: Vec::new(),
        unknown: None,
    }
}

/// A whole request with a body of JSON.
pub(super) fn post(name: impl Into<String>, body: impl AsRef<[u8]>) -> Case {
    post_with(name, "", body)
}

/// The same with these further lines in its head.
pub(super) fn post_with(name: impl Into<String>, headers: &str, body: impl AsRef<[u8]>) -> Case {
    raw(name, request(headers, body))
}

/// A request of the right length.
pub(super) fn request(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = head(&format!("content-length: {}\r\n{headers}", body.len()));
    [head.as_bytes(), body].concat()
}

/// The head of a request with these lines.
pub(super) fn head(headers: &str) -> String {
    format!("POST /events HTTP/1.1\r\nhost: streamgauge\r\n{headers}\r\n")
}

/// An event that says no more than its id. That of an event which must not be stored is `never`.
pub(super) fn event(id: &str) -> String {
    json!({"type": "page_view", "id": id}).to_string()
}

impl Case {
    pub(super) fn send(self, bytes: impl Into<Vec<u8>>) -> Case {
        self.then(Step::Send(bytes.into()))
    }

    pub(super) fn then(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    /// One more answer, with this text in it.
    pub(super) fn answered(mut self, status: u16, text: &str) -> Case {
        self.answers.push(Answer { status, with: vec![text.to_owned()], without: Vec::new() });
        self
    }

    /// The last answer names this field, or none.
    pub(super) fn naming(mut self, field: Option<&str>) -> Case {
        let answer = self.answers.last_mut().expect("an answer");
        match field {
            Some(field) => answer.with.push(format!("\"field\":{}", json!(field))),
            None => answer.without.push("\"field\":".to_owned()),
        }
        self
    }

    /// This stands nowhere in the last answer.
    pub(super) fn without(mut self, text: &str) -> Case {
        self.answers.last_mut().expect("an answer").without.push(text.to_owned());
        self
    }

    /// One more answer: an event of this id is taken.
    pub(super) fn takes(self, id: &str) -> Case {
        self.takes_all(vec![json!({"event_id": id})])
    }

    /// One more answer: these are taken, and stored with these fields.
    pub(super) fn takes_all(mut self, records: Vec<Value>) -> Case {
        let with = records.iter().map(|record| record["event_id"].to_string()).collect();
        self.answers.push(Answer { status: 202, with, without: Vec::new() });
        self.stored.extend(records);
        self
    }

    pub(super) fn closes(mut self) -> Case {
        self.end = End::Closes;
        self
    }

    pub(super) fn broken(mut self) -> Case {
        self.end = End::Broken;
        self
    }

    /// Where there are sites.
    pub(super) fn at_sites(mut self) -> Case {
        self.door = Door::Sites;
        self
    }
}
