//! Sessions: one conversation of two programs over as many streams as it takes.
//!
//! ```text
//! local program ──write──► replay ──frames──► stream ═══► stream ──► waiting ──poll_delivery──► program
//!                            ▲                  ╎ may break anywhere; another takes over
//!                            └── confirmed ◄────╎──────── ack: what the program was given
//! ```
//! Each side keeps what it said until the other side's *process* has it. On a new stream both say
//! how much they have, and go on from there: no byte is lost, doubled or reordered. A side holds
//! at most [`limits::REPLAY_BYTES_MAX`] unconfirmed bytes, then its program waits.
//!
//! Sans-io, as everything here: [`Session::attach`] or [`Session::accept`] when there is a stream,
//! [`Session::receive`] what it brings, [`Session::poll_transmit`] what it takes,
//! [`Session::detach`] when it is gone, [`Session::on_wakeup`] at [`Session::next_wakeup`].
//!
//! What is *not* promised: a session dies with either process. It is no message queue and no
//! checkpoint. Formats: `spec/11-sessions.md`. Not here: who may open a stream (that is asked anew for
//! every one), and which stream belongs to which session of which peer.

pub mod frame;
mod halves;
pub mod limits;

#[cfg(test)]
mod tests;

use std::time::Duration;

use homing_base::Mono;

pub use frame::{Frame, FrameError, GREETING, OPEN_BYTES, Open, Reason, SessionId};
pub use halves::Delivery;

use frame::Frames;
use halves::{Incoming, Outgoing};

/// What the peer must not do. The session ends by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that is out of place.
    #[error("a frame that is out of place")]
    Order,
    /// A position that contradicts what was said before.
    #[error("a position that contradicts what was said before")]
    Position,
    /// More bytes than were confirmed.
    #[error("more unconfirmed bytes than are allowed")]
    Window,
}

/// How a session ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The peer said so.
    #[error("the other side ended the session: {0}")]
    Reset(Reason),
    /// The peer broke the rules.
    #[error("the other side broke the rules of the session: {0}")]
    Violation(Violation),
    /// There was no stream for too long.
    #[error("the other side was away for too long")]
    Away,
    /// The local program is gone.
    #[error("the local program is gone")]
    Gone,
}

/// What a deadline means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing; there may be something to transmit.
    Nothing,
    /// The stream is dead: drop it and call [`Session::detach`].
    HangUp,
}

/// The stream of now.
#[derive(Debug)]
struct Wire {
    frames: Frames,
    /// Our `open` is still to be said.
    open_due: bool,
    /// The peer's `open` was heard.
    open: bool,
    ack_due: bool,
    probe_due: bool,
    heard: Mono,
    probed: Option<Mono>,
    /// The last that was heard answers a probe: both sides are silent because nobody speaks.
    calm: bool,
}

/// One side of one session.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    is_opener: bool,
    /// The stream of now, counted by the opener.
    attempt: u32,
    /// The opener was answered; the host is by definition.
    established: bool,
    outgoing: Outgoing,
    incoming: Incoming,
    wire: Option<Wire>,
    /// Since when there is no stream.
    alone_since: Mono,
    patience: Duration,
    ending: Option<Ending>,
    /// What the peer must be told last.
    last_word: Option<Frame>,
    closed: bool,
}

impl Session {
    /// The opener's side, before its first stream. It gives up after `patience` without one.
    #[must_use]
    pub fn opener(now: Mono, id: SessionId, patience: Duration) -> Self {
        Self::new(now, id, patience, true)
    }

    /// The host's side, for an `open` of a session that it did not know.
    ///
    /// # Errors
    /// [`Reason::Unknown`] when the opener resumes something: it is not here.
    pub fn host(now: Mono, open: &Open, patience: Duration) -> Result<Self, Reason> {
        if open.resumes || open.received != 0 {
            return Err(Reason::Unknown);
        }
        Ok(Self::new(now, open.session, patience, false))
    }

    fn new(now: Mono, id: SessionId, patience: Duration, is_opener: bool) -> Self {
        Self {
            id,
            is_opener,
            attempt: 0,
            established: !is_opener,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            wire: None,
            alone_since: now,
            patience,
            ending: None,
            last_word: None,
            closed: false,
        }
    }

    /// Whether there is a stream.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.wire.is_some()
    }

    /// Both directions have ended and both sides have everything.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.outgoing.is_complete() && self.incoming.is_complete()
    }

    /// The peer knows that the session is complete, or that it is over: nothing remains to be said.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why it ended before its end.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    // The local program.

    /// How many bytes [`Session::write`] takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.ending.is_some() { 0 } else { self.outgoing.room() }
    }

    /// The program said this.
    ///
    /// # Panics
    /// When there is no [`Session::room`] for it.
    pub fn write(&mut self, bytes: &[u8]) {
        self.outgoing.write(bytes);
    }

    /// The program will say no more. What the peer says still counts.
    pub fn finish(&mut self) {
        self.outgoing.end();
    }

    /// What the program is to be given. Counts as given.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        if self.ending.is_some() { None } else { self.incoming.poll() }
    }

    /// The program is gone before the end: the peer is told, if there is a stream.
    pub fn abandon(&mut self) {
        self.over(Ending::Gone, Some(Reason::Gone));
    }

    // The stream.

    /// The opener has a new stream.
    pub fn attach(&mut self, now: Mono) {
        self.attempt = self.attempt.saturating_add(1);
        self.begin(now);
    }

    /// The host was given a stream that begins with `open`. Returns whether it takes it: an older
    /// one than that of now is of no use.
    pub fn accept(&mut self, now: Mono, open: &Open) -> bool {
        if open.attempt <= self.attempt {
            return false;
        }
        self.attempt = open.attempt;
        self.begin(now);
        if let Err(violation) = self.on_open(open) {
            self.over(Ending::Violation(violation), Some(Reason::Protocol));
        }
        true
    }

    fn begin(&mut self, now: Mono) {
        self.incoming.forget();
        self.incoming.told = self.incoming.delivered;
        self.wire = Some(Wire {
            frames: Frames::default(),
            open_due: true,
            open: false,
            ack_due: false,
            probe_due: false,
            heard: now,
            probed: None,
            calm: false,
        });
    }

    /// The stream is gone.
    pub fn detach(&mut self, now: Mono) {
        if self.wire.take().is_some() {
            self.alone_since = now;
            self.incoming.forget();
        }
        if self.ending.is_some() {
            self.closed = true;
        }
    }

    /// What the stream brought. A peer that breaks the rules ends the session.
    pub fn receive(&mut self, now: Mono, bytes: &[u8]) {
        let Some(wire) = &mut self.wire else { return };
        wire.heard = now;
        wire.calm |= wire.probed.take().is_some();
        wire.frames.push(bytes);
        while self.ending.is_none() {
            let Some(wire) = &mut self.wire else { return };
            let heard = match wire.frames.poll_frame() {
                Ok(Some(frame)) => self.on_frame(frame),
                Ok(None) => return,
                Err(error) => Err(error.into()),
            };
            if let Err(violation) = heard {
                self.over(Ending::Violation(violation), Some(Reason::Protocol));
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        let wire = self.wire.as_mut().ok_or(Violation::Order)?;
        match frame {
            Frame::Open(open) if self.is_opener && !wire.open => return self.on_open(&open),
            Frame::Reset(reason) => self.over(Ending::Reset(reason), None),
            _ if !wire.open => return Err(Violation::Order),
            Frame::Data { offset, bytes } => {
                wire.calm = false;
                self.incoming.hear(offset, &bytes)?;
            }
            Frame::End { offset } => self.incoming.hear_end(offset)?,
            Frame::Ack { received } => self.outgoing.confirm(received)?,
            Frame::Probe => wire.ack_due = true,
            Frame::Close if !self.is_opener && self.is_complete() => self.closed = true,
            Frame::Open(_) | Frame::Close => return Err(Violation::Order),
        }
        Ok(())
    }

    fn on_open(&mut self, open: &Open) -> Result<(), Violation> {
        if open.session != self.id || open.attempt != self.attempt {
            return Err(Violation::Order);
        }
        self.outgoing.begin(open.received)?;
        self.established = true;
        if let Some(wire) = &mut self.wire {
            wire.open = true;
        }
        Ok(())
    }

    /// Bytes for the stream, about [`limits::TRANSMIT_BYTES`] at most; to be written before the next.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let wire = self.wire.as_mut()?;
        let mut bytes = Vec::new();
        if std::mem::take(&mut wire.open_due) {
            let received = self.incoming.delivered;
            let (session, attempt) = (self.id, self.attempt);
            let resumes = self.established;
            Frame::Open(Open { session, attempt, received, resumes }).write(&mut bytes);
        }
        if let Some(word) = self.last_word.take() {
            word.write(&mut bytes);
            self.closed = true;
        } else if wire.open && self.ending.is_none() {
            self.transmit(&mut bytes);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    fn transmit(&mut self, bytes: &mut Vec<u8>) {
        let Some(wire) = &mut self.wire else { return };
        if std::mem::take(&mut wire.ack_due) || self.incoming.told < self.incoming.delivered {
            self.incoming.told = self.incoming.delivered;
            Frame::Ack { received: self.incoming.delivered }.write(bytes);
        }
        if std::mem::take(&mut wire.probe_due) {
            Frame::Probe.write(bytes);
        }
        self.outgoing.write_frames(bytes);
        if self.is_opener && !self.closed && self.is_complete() {
            Frame::Close.write(bytes);
            self.closed = true;
        }
    }

    /// When to call [`Session::on_wakeup`].
    #[must_use]
    pub fn next_wakeup(&self) -> Mono {
        match &self.wire {
            Some(Wire { probed: Some(probed), .. }) => probed.after(limits::PROBE_GRACE),
            Some(wire) => {
                let busy = !(wire.open && wire.calm) || self.outgoing.is_unconfirmed();
                let silence = if busy { limits::SILENCE_BUSY } else { limits::SILENCE_IDLE };
                wire.heard.after(silence)
            }
            None if self.is_complete() => self.alone_since.after(limits::LINGER.min(self.patience)),
            None => self.alone_since.after(self.patience),
        }
    }

    /// A deadline has come.
    pub fn on_wakeup(&mut self, now: Mono) -> Due {
        if now < self.next_wakeup() {
            return Due::Nothing;
        }
        match &mut self.wire {
            Some(Wire { probed: Some(_), .. }) => Due::HangUp,
            Some(wire) => {
                wire.probed = Some(now);
                wire.probe_due = true;
                Due::Nothing
            }
            None => {
                if !self.is_complete() {
                    self.over(Ending::Away, None);
                }
                self.closed = true;
                Due::Nothing
            }
        }
    }

    fn over(&mut self, ending: Ending, word: Option<Reason>) {
        if self.ending.is_some() || self.closed {
            return;
        }
        self.ending = Some(ending);
        match word {
            Some(reason) if self.wire.is_some() => self.last_word = Some(Frame::Reset(reason)),
            _ => self.closed = true,
        }
    }
}
