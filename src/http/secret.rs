use std::hint::black_box;

/// Compares a secret with what a client sent, in a time that does not depend on where they differ.
///
/// Only the length can be learnt from the time it takes.
pub fn same_secret(secret: &[u8], sent: &[u8]) -> bool {
    if secret.len() != sent.len() {
        return false;
    }
    // black_box keeps the compiler from leaving the loop at the first difference.
    let difference = secret.iter().zip(sent).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_same() {
        assert!(same_secret(b"secret", b"secret"));
        assert!(!same_secret(b"secret", b"secreT"));
        assert!(!same_secret(b"secret", b"Secret"));
        assert!(!same_secret(b"secret", b"secret "));
        assert!(!same_secret(b"secret", b""));
    }
}
