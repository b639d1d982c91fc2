//! cli

#[cfg(test)]
mod verify {
    mod json;
    mod recount;
    mod rules;
}
