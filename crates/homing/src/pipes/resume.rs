//! One session, one local end, and the streams that come and go beneath.
//!
//! The machine is [`homing_core::session::Session`]; this moves its bytes. The opener dials whenever there
//! is no stream; the host is given the streams that its peer opens ([`super::host`]).

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use homing_api::client::RawStream;
use homing_api::{ApiError, Client, Code};
use homing_base::Mono;
use homing_core::session::{Delivery, Due, Ending, Open, Session, SessionId, limits};
use homing_node::identity_file::random_seed;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Carried;
use super::carry::outcome;
use super::dial::Dialler;
use super::end::End;

const CHUNK_BYTES: usize = 64 * 1_024;
/// How long the host may take to close its half after both sides are satisfied.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// The opener's side, from its first stream on. Gives up after `patience` without a stream.
pub(crate) async fn open(
    dialler: Dialler,
    first: RawStream,
    end: End,
    patience: Duration,
) -> (Carried, Result<Option<i32>, ApiError>) {
    let mut id = [0; 16];
    id.copy_from_slice(&random_seed()[..16]);
    let session = Session::opener(Mono(0), SessionId(id), patience);
    let client = dialler.client.clone();
    let mut pipe = Pipe::new(session, client, Streams::Dialled { dialler, pending: None }, end);
    pipe.take(Supplied::Dialled(first));
    pipe.run().await
}

/// The host's side; `arrivals` brings its streams, the first among them.
pub(crate) async fn serve(
    session: Session,
    client: Client,
    arrivals: mpsc::Receiver<Arrival>,
    end: End,
) -> (Carried, Result<Option<i32>, ApiError>) {
    Pipe::new(session, client, Streams::Given(arrivals), end).run().await
}

/// A stream of a known session, behind its first frame.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) open: Open,
    pub(crate) stream: RawStream,
}

type Dial = Pin<Box<dyn Future<Output = Result<RawStream, ApiError>> + Send>>;

/// Where the next stream comes from.
enum Streams {
    Dialled { dialler: Dialler, pending: Option<Dial> },
    Given(mpsc::Receiver<Arrival>),
}

enum Supplied {
    Dialled(RawStream),
    Given(Arrival),
}

impl Streams {
    /// The next one; an attempt under way survives that nobody waits for a while.
    async fn next(&mut self, needed: bool) -> Result<Supplied, ApiError> {
        match self {
            Streams::Dialled { dialler, pending } if needed => {
                let attempt = pending.get_or_insert_with(|| {
                    let (dialler, deadline) =
                        (dialler.clone(), Instant::now() + limits::DETACHED_MAX);
                    Box::pin(async move { dialler.again(deadline).await })
                });
                let dialled = attempt.await;
                *pending = None;
                dialled.map(Supplied::Dialled)
            }
            Streams::Dialled { .. } => pending().await,
            Streams::Given(arrivals) => match arrivals.recv().await {
                Some(arrival) => Ok(Supplied::Given(arrival)),
                None => pending().await,
            },
        }
    }
}

/// The stream of now.
struct Stream {
    id: u64,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Bytes that are being written.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    written: usize,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn put(&mut self, bytes: Vec<u8>) {
        *self = Piece { bytes, written: 0 };
    }
}

enum Happened {
    FromStream(io::Result<usize>),
    ToStream(io::Result<usize>),
    FromLocal(io::Result<usize>),
    /// `None`: flushed.
    ToLocal(io::Result<Option<usize>>),
    Supplied(Result<Supplied, ApiError>),
    Deadline,
}

struct Pipe {
    session: Session,
    started: Instant,
    client: Client,
    streams: Streams,
    stream: Option<Stream>,
    from_local: ReadHalf<End>,
    to_local: WriteHalf<End>,
    output_decides: bool,
    input_decides: bool,
    /// The local end has more to say.
    speaks: bool,
    /// The local end takes what the peer says.
    hears: bool,
    flush_due: bool,
    outbox: Piece,
    inbox: Piece,
    stream_buffer: Vec<u8>,
    local_buffer: Vec<u8>,
    carried: Carried,
}

impl Pipe {
    fn new(session: Session, client: Client, streams: Streams, end: End) -> Self {
        let (output_decides, input_decides) =
            (end.is_over_after_output(), end.is_over_after_input());
        let (from_local, to_local) = tokio::io::split(end);
        Self {
            session,
            started: Instant::now(),
            client,
            streams,
            stream: None,
            from_local,
            to_local,
            output_decides,
            input_decides,
            speaks: true,
            hears: true,
            flush_due: false,
            outbox: Piece::default(),
            inbox: Piece::default(),
            stream_buffer: vec![0; CHUNK_BYTES],
            local_buffer: vec![0; CHUNK_BYTES],
            carried: Carried::default(),
        }
    }

    async fn run(mut self) -> (Carried, Result<Option<i32>, ApiError>) {
        let ended = self.carry().await;
        let end = self.from_local.unsplit(self.to_local);
        let ended = match ended {
            Ok(()) => Ok(end.exit_code().await),
            Err(error) => {
                end.abort();
                Err(error)
            }
        };
        (self.carried, ended)
    }

    async fn carry(&mut self) -> Result<(), ApiError> {
        loop {
            self.deliver().await;
            if self.outbox.rest().is_empty() && self.stream.is_some() {
                self.outbox.put(self.session.poll_transmit().unwrap_or_default());
            }
            if self.outbox.rest().is_empty() && self.session.is_closed() {
                return self.part().await;
            }
            let happened = self.next().await;
            self.on(happened).await?;
        }
    }

    /// Takes what the session has for the local end, one piece after the other.
    async fn deliver(&mut self) {
        while self.inbox.rest().is_empty() && !self.flush_due {
            match self.session.poll_delivery() {
                Some(Delivery::Bytes(bytes)) if self.hears => {
                    self.inbox.put(bytes);
                    self.flush_due = true;
                }
                // A process need not read what it is sent.
                Some(Delivery::Bytes(_)) => {}
                Some(Delivery::End) => {
                    let _ = self.to_local.shutdown().await;
                    if self.input_decides {
                        self.speaks = false;
                        self.session.finish();
                    }
                }
                None => return,
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let room = self.session.room().min(CHUNK_BYTES);
        let deadline = self.started + Duration::from_micros(self.session.next_wakeup().0);
        let needed = self.stream.is_none() && self.session.ending().is_none();
        let (reader, writer) = match &mut self.stream {
            Some(stream) => (Some(&mut stream.reader), Some(&mut stream.writer)),
            None => (None, None),
        };
        let speaks = self.speaks && room > 0;
        tokio::select! {
            read = read_stream(reader, &mut self.stream_buffer) => Happened::FromStream(read),
            wrote = write_stream(writer, self.outbox.rest()) => Happened::ToStream(wrote),
            read = self.from_local.read(&mut self.local_buffer[..room]), if speaks => {
                Happened::FromLocal(read)
            }
            wrote = write_local(&mut self.to_local, self.inbox.rest(), self.flush_due) => {
                Happened::ToLocal(wrote)
            }
            supplied = self.streams.next(needed) => {
                Happened::Supplied(supplied)
            }
            () = tokio::time::sleep_until(deadline) => Happened::Deadline,
        }
    }

    async fn on(&mut self, happened: Happened) -> Result<(), ApiError> {
        match happened {
            Happened::FromStream(Ok(read @ 1..)) => {
                let now = self.now();
                self.session.receive(now, &self.stream_buffer[..read]);
            }
            Happened::ToStream(Ok(wrote @ 1..)) => self.outbox.written += wrote,
            Happened::FromStream(_) | Happened::ToStream(_) => return self.on_stream_gone().await,
            Happened::FromLocal(read) => self.on_local(read),
            Happened::ToLocal(wrote) => self.on_taken(wrote),
            Happened::Supplied(stream) => self.take(stream?),
            Happened::Deadline => {
                let now = self.now();
                if self.session.on_wakeup(now) == Due::HangUp {
                    return self.on_stream_gone().await;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, supplied: Supplied) {
        let now = self.now();
        let stream = match supplied {
            Supplied::Dialled(stream) => {
                self.session.attach(now);
                stream
            }
            Supplied::Given(Arrival { open, stream }) if self.session.accept(now, &open) => stream,
            Supplied::Given(_) => return,
        };
        let id = stream.id;
        let (reader, writer) = tokio::io::split(stream.io);
        let (reader, writer) = (Box::new(reader), Box::new(writer));
        self.stream = Some(Stream { id, reader, writer });
        self.outbox = Piece::default();
    }

    /// The host asks why: when trust has ended, so has the session. The opener is told when it dials.
    async fn on_stream_gone(&mut self) -> Result<(), ApiError> {
        let now = self.now();
        self.outbox = Piece::default();
        self.session.detach(now);
        let Some(stream) = self.stream.take() else { return Ok(()) };
        drop((stream.reader, stream.writer));
        if matches!(self.streams, Streams::Dialled { .. }) {
            return Ok(());
        }
        outcome(&self.client, stream.id)
            .await
            .or_else(|e| if is_trust(&e) { Err(e) } else { Ok(()) })
    }

    fn on_local(&mut self, read: io::Result<usize>) {
        match read {
            Ok(0) => {
                self.speaks = false;
                self.session.finish();
            }
            Ok(read) => {
                self.session.write(&self.local_buffer[..read]);
                self.carried.sent_bytes += read as u64;
            }
            Err(_) => self.session.abandon(),
        }
    }

    fn on_taken(&mut self, wrote: io::Result<Option<usize>>) {
        match wrote {
            Ok(Some(wrote)) => {
                self.inbox.written += wrote;
                self.carried.received_bytes += wrote as u64;
            }
            Ok(None) => self.flush_due = false,
            Err(_) => {
                (self.hears, self.flush_due) = (false, false);
                self.inbox = Piece::default();
                if !self.output_decides {
                    self.session.abandon();
                }
            }
        }
    }

    /// Nothing more is to be said. The opener waits for the host's half to end, so that the last word arrives.
    async fn part(&mut self) -> Result<(), ApiError> {
        if let Some(stream) = &mut self.stream {
            let _ = stream.writer.shutdown().await;
            if matches!(self.streams, Streams::Dialled { .. }) {
                let mut rest = tokio::io::sink();
                let _ = timeout(GOODBYE_MAX, tokio::io::copy(&mut stream.reader, &mut rest)).await;
            }
        }
        match self.session.ending() {
            None => Ok(()),
            Some(ending) => Err(told(ending)),
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

async fn read_stream(
    reader: Option<&mut Box<dyn AsyncRead + Send + Unpin>>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    match reader {
        Some(reader) => reader.read(buffer).await,
        None => pending().await,
    }
}

async fn write_stream(
    writer: Option<&mut Box<dyn AsyncWrite + Send + Unpin>>,
    rest: &[u8],
) -> io::Result<usize> {
    match writer {
        Some(writer) if !rest.is_empty() => writer.write(rest).await,
        _ => pending().await,
    }
}

async fn write_local(
    end: &mut WriteHalf<End>,
    rest: &[u8],
    flush_due: bool,
) -> io::Result<Option<usize>> {
    match (rest.is_empty(), flush_due) {
        (false, _) => end.write(rest).await.map(Some),
        (true, true) => end.flush().await.map(|()| None),
        (true, false) => pending().await,
    }
}

fn is_trust(error: &ApiError) -> bool {
    matches!(error.code, Code::PeerNotTrusted | Code::TrustExpired | Code::ScopeDenied)
}

fn told(ending: Ending) -> ApiError {
    let (code, message) = match ending {
        Ending::Away => (Code::PeerOffline, "the session ended: the other side did not return"),
        Ending::Gone => (Code::StreamBroken, "the session ended: the local end is gone"),
        _ => (Code::StreamBroken, "the session ended before its end"),
    };
    ApiError::new(code, message).why(ending.to_string()).hint("begin again")
}
