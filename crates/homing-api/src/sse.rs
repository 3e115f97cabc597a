//! Server-Sent Events, reading side (WHATWG HTML §9.2): lines to events, bounded.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field; empty when there was none.
    pub event: String,
    /// The `data:` lines, joined with newlines.
    pub data: String,
}

/// Longest line and largest event: JSON of an event is some 500 bytes.
const EVENT_BYTES_MAX: usize = 1_024 * 1_024;

/// Splits a byte stream into events. Feed with [`SseDecoder::push`], drain with [`SseDecoder::poll_event`].
#[derive(Debug, Default)]
pub struct SseDecoder {
    line: Vec<u8>,
    current: SseEvent,
    ready: std::collections::VecDeque<SseEvent>,
}

/// The stream holds an event larger than any we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub struct SseTooLong;

impl SseDecoder {
    /// Takes more bytes.
    ///
    /// # Errors
    /// [`SseTooLong`] when an event exceeds the bound.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SseTooLong> {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.on_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            } else {
                self.line.push(*byte);
            }
            if self.line.len() + self.current.data.len() > EVENT_BYTES_MAX {
                return Err(SseTooLong);
            }
        }
        Ok(())
    }

    /// The next complete event.
    pub fn poll_event(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    fn on_line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.current);
            if !event.data.is_empty() {
                self.ready.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.current.event = value.to_owned(),
            "data" => {
                if !self.current.data.is_empty() {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            // Comments (keep-alive), `id` and `retry` mean nothing here.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&str]) -> Vec<SseEvent> {
        let mut decoder = SseDecoder::default();
        chunks.iter().for_each(|c| decoder.push(c.as_bytes()).unwrap());
        std::iter::from_fn(|| decoder.poll_event()).collect()
    }

    #[test]
    fn events_survive_any_split_of_the_bytes() {
        let text = ": hello\n\nevent: stream\ndata: {\"id\":1}\n\ndata: a\r\ndata: b\r\n\r\ndata: unfinished";
        let whole = events(&[text]);
        let expected =
            |event: &str, data: &str| SseEvent { event: event.into(), data: data.into() };
        assert_eq!(whole, [expected("stream", "{\"id\":1}"), expected("", "a\nb")]);
        for at in 0..text.len() {
            assert_eq!(events(&[&text[..at], &text[at..]]), whole, "split at {at}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = SseDecoder::default();
        assert_eq!(decoder.push(&vec![b'x'; EVENT_BYTES_MAX + 1]), Err(SseTooLong));
    }
}
