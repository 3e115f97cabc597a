//! A stream to a service of a peer, tried again while that makes sense.

use std::time::Duration;

use homing_api::client::{RawStream, SocketStream};
use homing_api::streams::Protocol;
use homing_api::trust::TrustState;
use homing_api::{ApiError, Client, Code};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use super::place::PeerService;

/// Between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// One attempt, when it may be repeated. More than the 5 s after which the daemon takes a connection for dead.
const ATTEMPT_MAX: Duration = Duration::from_secs(8);
/// How long a host may take to say its greeting.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// What is opened, and how.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) client: Client,
    pub(crate) to: PeerService,
    /// What the host must say first.
    pub(crate) greeting: Option<Greeting>,
}

/// What a host says first on a stream that is more than bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) bytes: [u8; 5],
    /// What the other side lacks when it does not say it.
    pub(crate) missing: &'static str,
    pub(crate) hint: &'static str,
}

impl Dialler {
    /// One attempt.
    async fn once(&self, within: Duration) -> Result<RawStream, ApiError> {
        let PeerService { peer, service } = &self.to;
        let mut stream = self.client.connect(peer, service.as_str(), within).await?;
        match &self.greeting {
            Some(greeting) => greeting.expect(&mut stream).await?,
            None => expect_bytes(stream.protocol)?,
        }
        Ok(stream)
    }

    /// Attempts until `deadline`, as long as `may_help` says that another may help.
    pub(crate) async fn until(
        &self,
        deadline: Instant,
        may_help: fn(&ApiError) -> bool,
    ) -> Result<RawStream, ApiError> {
        attempts(deadline, may_help, |within| self.once(within)).await
    }

    /// A stream for a socket that is to be handed over, where no greeting is expected; tried again while that may help.
    pub(crate) async fn socket_until(&self, deadline: Instant) -> Result<SocketStream, ApiError> {
        let PeerService { peer, service } = &self.to;
        let once = |within| async move {
            let stream = self.client.connect_socket(peer, service.as_str(), within).await?;
            expect_bytes(stream.protocol).map(|()| stream)
        };
        attempts(deadline, is_passing, once).await
    }

    /// Attempts at a service that was there before. A daemon that came back without its store knows neither the peer nor the
    /// trust with it until its peers have told it again: only a "no" ends the attempts.
    pub(crate) async fn again(&self, deadline: Instant) -> Result<RawStream, ApiError> {
        let mut before = None;
        loop {
            let began = Instant::now();
            let error = match self.until(deadline, is_passing_for_known).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let late = Instant::now() + AGAIN_AFTER >= deadline;
            if late || error.code != Code::PeerNotTrusted {
                return Err(error);
            }
            let shown = self.client.trust_show(&self.to.peer).await;
            let now = shown.ok().map(|shown| shown.entry.trust.state);
            let before_this = before.filter(|_| began.elapsed() < ATTEMPT_MAX);
            if is_no(before_this, now) {
                return Err(error);
            }
            before = now;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Whether somebody said no, judged by the state of trust after the last two attempts that failed for the lack of it;
/// `None`: nobody could be asked. Trust that is there after *one* such attempt may have come a moment too late for it.
fn is_no(before: Option<TrustState>, now: Option<TrustState>) -> bool {
    use TrustState::{Mutual, None as Nothing, Pending, Requested};
    match now {
        None | Some(Nothing | Requested) => false,
        // Ours may be held back until our newest record is known.
        Some(Mutual | Pending) => before == now,
        Some(_) => true,
    }
}

/// `once`, given the time for one attempt, until `deadline` and as long as `may_help` says that another may help.
async fn attempts<T, F: Future<Output = Result<T, ApiError>>>(
    deadline: Instant,
    may_help: fn(&ApiError) -> bool,
    once: impl Fn(Duration) -> F,
) -> Result<T, ApiError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match once(left.min(ATTEMPT_MAX)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if !may_help(&error) || Instant::now() + AGAIN_AFTER >= deadline {
            return Err(error);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Bytes are to be carried as they are: a host that wants more than that is told apart before one is sent.
pub(crate) fn expect_bytes(protocol: Protocol) -> Result<(), ApiError> {
    let (takes, hint) = match protocol {
        Protocol::Sessions => ("sessions", "add --resume, or start it without: homing listen"),
        Protocol::Datagrams => ("datagrams", "homing forward udp:PORT PEER:SERVICE"),
        Protocol::Bytes | Protocol::Http => return Ok(()),
    };
    Err(ApiError::new(Code::Usage, format!("the other side takes only {takes}"))
        .why("nothing was sent")
        .hint(hint))
}

impl Greeting {
    async fn expect(&self, stream: &mut RawStream) -> Result<(), ApiError> {
        let mut said = [0; 5];
        match timeout(GREETING_MAX, stream.io.read_exact(&mut said)).await {
            Ok(Ok(_)) if said == self.bytes => Ok(()),
            // The stream broke: the host may well be what we want.
            Ok(Err(error)) => Err(ApiError::new(Code::StreamBroken, "the stream broke at once")
                .why(error.to_string())
                .hint("look at what the other side says: homing listen")),
            _ => Err(ApiError::new(Code::Usage, self.missing).hint(self.hint)),
        }
    }
}

/// Whether the same may succeed in a moment: the peer or our daemon is away, or is busy.
pub(crate) fn is_passing(error: &ApiError) -> bool {
    error.retryable
}

/// The same for a service that was there before: its listener may be on its way back, our daemon without its store.
fn is_passing_for_known(error: &ApiError) -> bool {
    error.retryable || matches!(error.code, Code::NoSuchService | Code::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_no_ends_the_attempts_of_a_session() {
        use TrustState::{Expired, Mutual, None as Nothing, Pending, RevokedByPeer, RevokedByUs};
        // The daemon knew nothing when it was dialled, and was told before it was asked.
        assert!(!is_no(None, Some(Mutual)) && !is_no(Some(Nothing), Some(Mutual)));
        assert!(!is_no(None, Some(Nothing)) && !is_no(Some(Nothing), Some(Pending)));
        // It died meanwhile.
        assert!(!is_no(Some(Mutual), None));
        // It trusts the peer, which refuses; or the peer asks, and nobody has answered.
        assert!(is_no(Some(Mutual), Some(Mutual)) && is_no(Some(Pending), Some(Pending)));
        for no in [RevokedByPeer, RevokedByUs, Expired] {
            assert!(is_no(None, Some(no)) && is_no(Some(Mutual), Some(no)));
        }
    }
}
