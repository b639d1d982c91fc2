use super::{Dimension, Dimensions, Event, Invalid};

/// What decides an event's partition: the records of one key keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The session, else the user.
    Session,
    /// The user, else the session.
    User,
    /// The event's own id: spreads evenly and keeps no order.
    Event,
    /// The value of a payload field, else the session, else the user.
    Payload(Dimensions),
}

impl Key {
    /// Reads `session`, `user`, `event`, or a path like `payload.shop`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(choice: &str) -> Result<Key, Invalid> {
        match choice {
            "session" => Ok(Key::Session),
            "user" => Ok(Key::User),
            "event" => Ok(Key::Event),
            path if path.starts_with("payload.") => Dimension::parse(path).map(|field| Key::Payload(field.into())),
            other => Err(Invalid::Path {
                path: other.into(),
                problem: "is no key: allowed are session, user, event and payload.<field>",
            }),
        }
    }

    /// The key of an event. An empty string identifies nothing and is passed over; where nothing is left, it is
    /// the event's id, so that a repetition of the same event reaches the same partition.
    pub fn of(&self, event: &Event<'_>, event_id: &str) -> String {
        let (session, user) = (event.session_id.as_deref(), event.user_id.as_deref());
        let first = |candidates: [Option<&str>; 2]| {
            candidates.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or(event_id).to_owned()
        };
        match self {
            Key::Session => first([session, user]),
            Key::User => first([user, session]),
            Key::Event => event_id.to_owned(),
            Key::Payload(field) => {
                let mut key = String::new();
                field.write_key(event, &mut key);
                if key.is_empty() { first([session, user]) } else { key }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Door;
    use super::*;

    fn key(choice: &str, json: &str) -> String {
        let event = Event::parse(json.as_bytes(), Door::Http).unwrap();
        Key::parse(choice).unwrap().of(&event, "the-id")
    }

    #[test]
    fn the_first_that_identifies_something_is_the_key() {
        let all = r#"{"type":"t","session_id":"s","user_id":"u","payload":{"shop":7}}"#;
        for (choice, expected) in [("session", "s"), ("user", "u"), ("event", "the-id"), ("payload.shop", "7")] {
            assert_eq!(key(choice, all), expected);
        }
        let user = r#"{"type":"t","session_id":"","user_id":"u","payload":{"shop":""}}"#;
        assert_eq!(["session", "user", "payload.shop", "payload.none"].map(|choice| key(choice, user)), ["u"; 4]);
        let none = r#"{"type":"t","user_id":""}"#;
        assert_eq!(["session", "user", "payload.shop"].map(|choice| key(choice, none)), ["the-id"; 3]);
    }

    #[test]
    fn a_wrong_choice_says_what_is_allowed() {
        for choice in ["", "sessions", "context.country", "payload", "user_id"] {
            assert!(Key::parse(choice).unwrap_err().to_string().contains("session, user, event"), "{choice}");
        }
        assert!(Key::parse("payload.").unwrap_err().to_string().contains("empty name"));
    }
}
