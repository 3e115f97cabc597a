//! An error and what caused it, on one line.

use std::error::Error;

/// The text of an error and of everything below it: `cannot connect: tls: unknown issuer`.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_named_once() {
        let inner = std::io::Error::other("the inner");
        assert_eq!(with_causes(&Outer(inner)), "the outer: the inner");
    }
}
