//! Time-stamp authorities (RFC 3161): a second witness of time that needs no chain and no account.
//!
//! ```text
//! checkpoint body  "origin\nsize\nbase64(root)\n"  ──SHA-256──► TimeStampReq ──HTTP POST──► TimeStampResp ──► token
//! ```
//! The body is what the log itself signs, so anybody can repeat the check with standard tools:
//! `openssl ts -verify -data checkpoint.txt -in token.der -token_in -CAfile ca.pem`. An authority is asked for the newest checkpoint; it
//! keeps nothing, so the log's own bundles are where the token lives.
//!
//! Not here: revocation of authorities, and renewal of tokens before a certificate's algorithm falls.

mod token;

use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE64;
use der::asn1::{Int, OctetString};
use der::{Decode, Encode};
use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use sha2::{Digest, Sha256};
use url::Url;
use x509_tsp::{MessageImprint, TimeStampReq, TimeStampResp, TspVersion};

pub(crate) use token::confirm;
pub use token::{authorities_from_pem, verify};

use crate::journal::{Mark, Subject};
use crate::limits::TSA_ANSWER_BYTES_MAX;
use crate::{Anchor, AnchorError, Evidence, Journal, Point, Round, TimeStamp, http};

/// What is configured.
#[derive(Clone, Debug)]
pub struct TsaConfig {
    /// Where requests are posted.
    pub url: String,
    /// DER certificates of the authority or of its issuers. Tokens of anybody else are refused.
    pub authorities: Vec<Vec<u8>>,
    /// Least time between two requests.
    pub interval: Duration,
}

/// An authority at one URL.
#[derive(Debug)]
pub struct TsaAnchor {
    client: Client,
    url: Url,
    authorities: Vec<Vec<u8>>,
    interval: Duration,
}

/// The lines that a log signs for `point` when it adds none of its own (C2SP tlog-checkpoint).
#[must_use]
pub fn checkpoint_body(origin: &str, point: &Point) -> String {
    format!("{origin}\n{}\n{}\n", point.size, BASE64.encode(&point.root))
}

impl TsaAnchor {
    /// A client; nothing is contacted yet.
    ///
    /// # Errors
    /// [`AnchorError::Setting`] for a URL that is none, and without any authority to trust.
    pub fn new(config: TsaConfig) -> Result<Self, AnchorError> {
        if config.authorities.is_empty() {
            return Err(AnchorError::Setting(
                "a time-stamp authority needs its certificate or its issuer's".into(),
            ));
        }
        let url = http::address(&config.url)?;
        Ok(Self {
            client: http::client()?,
            url,
            authorities: config.authorities,
            interval: config.interval,
        })
    }

    async fn stamp(&self, origin: &str, point: &Point) -> Result<Vec<u8>, AnchorError> {
        let body = checkpoint_body(origin, point);
        let (request, nonce) = request(&body)?;
        let builder = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/timestamp-query")
            .header(ACCEPT, "application/timestamp-reply")
            .body(request);
        let (good, answer) = http::exchange(&self.url, builder, TSA_ANSWER_BYTES_MAX).await?;
        let refused = |reason: String| AnchorError::Refused {
            service: http::shown(&self.url),
            reason: http::brief(&reason),
        };
        if !good {
            return Err(refused(String::from_utf8_lossy(&answer).into_owned()));
        }
        let token = token_of(&answer).map_err(refused)?;
        token::check_nonce(&token, &nonce)?;
        Ok(token)
    }
}

/// A request for `body`, and its nonce: 8 random bytes, the first of them 1, so that they are a positive DER integer.
fn request(body: &str) -> Result<(Vec<u8>, [u8; 8]), AnchorError> {
    let mut nonce = [0; 8];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut nonce)
        .map_err(|_| AnchorError::Setting("the system gives no randomness".into()))?;
    nonce[0] = 1;
    let made = |e: der::Error| AnchorError::Setting(e.to_string());
    let sha256 = x509_cert::spki::AlgorithmIdentifier {
        oid: const_oid::db::rfc5912::ID_SHA_256,
        parameters: None,
    };
    let request = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: MessageImprint {
            hash_algorithm: sha256,
            hashed_message: OctetString::new(Sha256::digest(body.as_bytes()).to_vec())
                .map_err(made)?,
        },
        req_policy: None,
        nonce: Some(Int::new(&nonce).map_err(made)?),
        cert_req: true,
        extensions: None,
    };
    Ok((request.to_der().map_err(made)?, nonce))
}

/// The token in an answer, or the words with which it was refused.
fn token_of(answer: &[u8]) -> Result<Vec<u8>, String> {
    let response =
        TimeStampResp::from_der(answer).map_err(|e| format!("no time-stamp response: {e}"))?;
    let status = response.status;
    match response.time_stamp_token {
        Some(token) if (status.status as u8) < 2 => token.to_der().map_err(|e| e.to_string()),
        _ => Err(format!("status {:?} {:?}", status.status, status.fail_info)),
    }
}

#[async_trait]
impl Anchor for TsaAnchor {
    fn kind(&self) -> &'static str {
        "rfc3161"
    }

    async fn round(&mut self, journal: &mut Journal, _: u64) -> Result<Round, AnchorError> {
        let mut round = Round { again: self.interval, ..Round::default() };
        let Some((point, _)) = journal.newest_point()? else { return Ok(round) };
        if journal.reached(true, true)? >= point.size {
            return Ok(round);
        }
        let origin = journal.origin().to_owned();
        journal.count("sent", 1)?;
        round.sent = 1;
        let token = self.stamp(&origin, &point).await?;
        let evidence = Evidence::TimeStamp(TimeStamp { token: token.clone().into() });
        confirm(&token, &origin, &point, &self.authorities)?;
        let mark = Mark {
            id: 0,
            subject: Subject::Point(point),
            block: 0,
            block_hash: Sha256::digest(&token).into(),
            transaction: [0; 32],
        };
        journal.notice(&mark)?;
        for mark in journal.open_marks(1)? {
            journal.finish(&mark, &evidence)?;
            round.confirmed += 1;
        }
        Ok(round)
    }
}
