//! Server-Sent Events, reading side (WHATWG HTML §9.2): lines to events, bounded.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field; empty when there was none.
    pub event: String,
    /// The `data:` lines, joined with newlines.
    pub data: String,
}

/// Longest line and largest event unless said otherwise: JSON of our events is some 500 bytes.
const EVENT_BYTES_MAX: usize = 1_024 * 1_024;

/// Splits a byte stream into events. Feed with [`SseDecoder::push`], drain with [`SseDecoder::poll_event`].
#[derive(Debug)]
pub struct SseDecoder {
    line: Vec<u8>,
    current: SseEvent,
    ready: std::collections::VecDeque<SseEvent>,
    bytes_max: usize,
    last_id: Option<String>,
    retry_ms: Option<u64>,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self::with_limit(EVENT_BYTES_MAX)
    }
}

/// An event is larger than the decoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {bytes_max} bytes")]
pub struct SseTooLong {
    /// What was taken at most.
    pub bytes_max: usize,
}

impl SseDecoder {
    /// A decoder of events and lines of at most `bytes_max` bytes.
    #[must_use]
    pub fn with_limit(bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            current: SseEvent::default(),
            ready: std::collections::VecDeque::new(),
            bytes_max,
            last_id: None,
            retry_ms: None,
        }
    }

    /// The `id:` field read last: where to go on after a break (`Last-Event-ID`).
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The `retry:` field read last: how long to wait before that.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Forgets what was half read: the next bytes are of another connection.
    pub fn restart(&mut self) {
        self.line.clear();
        self.current = SseEvent::default();
    }

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
            if self.line.len() + self.current.data.len() > self.bytes_max {
                return Err(SseTooLong { bytes_max: self.bytes_max });
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
            "id" => self.last_id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // Comments keep the connection alive.
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
    fn where_to_go_on_is_known_even_without_data() {
        let mut decoder = SseDecoder::default();
        decoder.push(b"id: 7\nretry: 250\ndata:\n\n").unwrap();
        assert_eq!((decoder.last_id(), decoder.retry_ms()), (Some("7"), Some(250)));
        assert_eq!(decoder.poll_event(), None);
        decoder.push(b"data: {\"half").unwrap();
        decoder.restart();
        decoder.push(b"data: 1\n\n").unwrap();
        assert_eq!(
            (decoder.poll_event().unwrap().data.as_str(), decoder.last_id()),
            ("1", Some("7"))
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = SseDecoder::with_limit(100);
        assert_eq!(decoder.push(&[b'x'; 101]), Err(SseTooLong { bytes_max: 100 }));
    }
}
