//! What is sent next, for how much, and again when it does not arrive.

use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, Bytes, TxKind, U256};

use super::chain::Head;
use super::{EvmAnchor, Mode, contract};
use crate::journal::{Flight, Subject};
use crate::{AnchorError, Hold, Journal, Point, Round};

/// Journal key: when the newest new transaction was signed, Unix milliseconds.
const LAST_SENT_MS: &str = "last_sent_ms";

/// What one gas is paid with, in wei.
#[derive(Clone, Copy)]
struct Price {
    fee: u128,
    priority: u128,
}

impl EvmAnchor {
    /// Sends what comes next with `nonce`, unless that is under way, not due, or too dear.
    pub(super) async fn send_next(
        &mut self,
        journal: &mut Journal,
        head: &Head,
        nonce: u64,
        now_ms: u64,
        round: &mut Round,
    ) -> Result<(), AnchorError> {
        let before = journal.flight(nonce)?;
        let Some(subject) = self.wanted(journal, head, before.as_ref()).await? else {
            return Ok(());
        };
        let is_late =
            |since: u64| now_ms.saturating_sub(since) >= millis(self.config.replace_after);
        if let Some(flight) = &before
            && flight.subject_stands(subject)
            && !is_late(flight.sent_ms)
        {
            return self.send_again(flight, round).await;
        }
        if before.is_none() && self.chain.nonce("pending").await? > nonce {
            if !is_late(*self.foreign_since_ms.get_or_insert(now_ms)) {
                round.held = Some(Hold::ForeignTransaction);
                return Ok(());
            }
        } else {
            self.foreign_since_ms = None;
        }
        let due = journal.number(LAST_SENT_MS)? + millis(self.config.interval);
        if before.is_none() && now_ms < due {
            round.again = round.again.max(std::time::Duration::from_millis(due - now_ms));
            return Ok(());
        }
        let Some(price) = self.price(head, before.as_ref(), round).await? else {
            return match &before {
                Some(flight) => self.send_again(flight, round).await,
                None => Ok(()),
            };
        };
        let flight = self.sign(journal, subject, nonce, price, before, now_ms).await?;
        journal.set_number(LAST_SENT_MS, now_ms)?;
        round.sent += 1;
        self.chain.send(&flight.raw).await
    }

    /// What the chain lacks, seen from `head`. `before`: what this nonce was used for already.
    async fn wanted(
        &self,
        journal: &mut Journal,
        head: &Head,
        before: Option<&Flight>,
    ) -> Result<Option<Subject>, AnchorError> {
        let Mode::Update { batch } = self.config.mode else {
            let Some((newest, _)) = journal.newest_point()? else { return Ok(None) };
            let (size, root) = self.chain.tip(head.number.to()).await?;
            return Ok(is_newer(journal, newest, size, root)?.then_some(Subject::Point(newest)));
        };
        let (first, wanted) = (journal.reached(false, false)?, journal.updates_wanted()?);
        if first >= wanted {
            return Ok(None);
        }
        if let Some(Flight { subject: subject @ Subject::Updates { first: again, .. }, .. }) =
            before
            && *again == first
        {
            return Ok(Some(*subject));
        }
        let last = wanted.min(first + batch as u64) - 1;
        Ok(Some(Subject::Updates { first, last }))
    }

    /// The very same transaction, if the node has lost it.
    async fn send_again(&self, flight: &Flight, round: &mut Round) -> Result<(), AnchorError> {
        let newest = flight.hashes.last().copied().unwrap_or_default();
        if self.chain.knows(B256::from(newest)).await? {
            return Ok(());
        }
        round.sent += 1;
        self.chain.send(&flight.raw).await
    }

    /// What is paid now; more than before when something is replaced. `None`: more than is allowed.
    async fn price(
        &self,
        head: &Head,
        before: Option<&Flight>,
        round: &mut Round,
    ) -> Result<Option<Price>, AnchorError> {
        let base: u128 = head.base_fee_per_gas.map_or(0, |fee| fee.to());
        let ceiling = self.config.max_fee;
        let mut priority = self.chain.priority_fee().await?;
        let mut asked = base.saturating_add(priority);
        if let Some(before) = before {
            // Nodes take a replacement that pays at least a tenth more, in both.
            priority = priority.max(before.priority + before.priority / 8 + 1);
            asked = asked.max(before.fee + before.fee / 8 + 1);
        }
        if asked > ceiling {
            round.held = Some(Hold::Fee { asked, ceiling });
            return Ok(None);
        }
        // Twice the base fee: five full blocks raise it by 1.8 (EIP-1559).
        let fee = base.saturating_mul(2).saturating_add(priority).max(asked).min(ceiling);
        Ok(Some(Price { fee, priority: priority.min(fee) }))
    }

    /// Signs, and writes down what was signed. Fewer updates, if all of them take too much gas.
    async fn sign(
        &self,
        journal: &mut Journal,
        mut subject: Subject,
        nonce: u64,
        price: Price,
        before: Option<Flight>,
        now_ms: u64,
    ) -> Result<Flight, AnchorError> {
        let ceiling = self.config.max_gas;
        let (input, needed) = loop {
            let input = self.input(journal, subject)?;
            let needed = self.chain.estimate(&input).await?;
            match subject {
                Subject::Updates { first, last } if needed > ceiling && last > first => {
                    subject = Subject::Updates { first, last: first + (last - first) / 2 };
                }
                _ => break (input, needed),
            }
        };
        if needed > ceiling {
            return Err(AnchorError::Gas { needed, ceiling });
        }
        let transaction = TxEip1559 {
            chain_id: self.config.chain_id,
            nonce,
            // The estimate is exact for the state it was made on; a fifth more pays for another.
            gas_limit: (needed + needed / 5).min(ceiling),
            max_fee_per_gas: price.fee,
            max_priority_fee_per_gas: price.priority,
            to: TxKind::Call(self.chain.contract),
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let (raw, hash) = self.account.sign(transaction)?;
        let mut hashes = before.map(|f| f.hashes).unwrap_or_default();
        hashes.push(hash.0);
        let flight = Flight {
            nonce,
            subject,
            fee: price.fee,
            priority: price.priority,
            sent_ms: now_ms,
            raw,
            hashes,
        };
        journal.depart(&flight)?;
        Ok(flight)
    }

    fn input(&self, journal: &Journal, subject: Subject) -> Result<Bytes, AnchorError> {
        match subject {
            Subject::Point(point) => Ok(contract::anchor_call(self.chain.origin, &point)),
            Subject::Updates { first, last } => {
                let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
                let updates = journal.updates(first, count)?;
                if updates.len() != count {
                    return Err(AnchorError::Setting(format!(
                        "updates {first} to {last} are not in the journal"
                    )));
                }
                Ok(contract::update_call(self.chain.origin, first, &updates))
            }
        }
    }
}

impl Flight {
    /// Whether what is wanted now is what this does. A larger checkpoint waits until this one has arrived.
    fn subject_stands(&self, wanted: Subject) -> bool {
        match (self.subject, wanted) {
            (Subject::Point(_), Subject::Point(_)) => true,
            (mine, wanted) => mine == wanted,
        }
    }
}

/// Whether `newest` says more than the chain, which has `size` with a root that starts with `root`.
fn is_newer(
    journal: &Journal,
    newest: Point,
    size: u64,
    root: [u8; 24],
) -> Result<bool, AnchorError> {
    if size > newest.size {
        return Err(AnchorError::Behind { anchored: size, own: newest.size });
    }
    if let Some(own) = journal.root_at(size)?
        && own[..24] != root
    {
        return Err(AnchorError::Fork { size });
    }
    Ok(newest.size > size)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
