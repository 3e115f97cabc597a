//! One round: what is seen, what counts, and then what is sent.

use alloy_primitives::B256;
use async_trait::async_trait;

use super::chain::{Head, Seen, tag};
use super::{EvmAnchor, Finality, receipt};
use crate::journal::{Flight, Mark, Subject};
use crate::limits::{LOG_BLOCKS_MAX, LOG_CALLS_PER_ROUND_MAX, OPEN_MARKS_PER_ROUND_MAX};
use crate::{Anchor, AnchorError, Evidence, Hold, Journal, Round};

/// Journal key: every event up to this block was read, and it was final.
const READ: &str = "read";

#[async_trait]
impl Anchor for EvmAnchor {
    fn kind(&self) -> &'static str {
        "evm"
    }

    async fn round(&mut self, journal: &mut Journal, now_ms: u64) -> Result<Round, AnchorError> {
        self.check_chain().await?;
        let head = self.chain.head().await?;
        let last_final = self.last_final(&head).await?;
        let mut round = Round { again: self.config.poll, ..Round::default() };
        round.removed = self.remove_gone(journal).await?;
        let has_read_all = self.read_events(journal, &head, last_final).await?;
        round.confirmed = self.confirm_final(journal, last_final).await?;
        if !has_read_all {
            round.held = Some(Hold::Reading);
            round.again = std::time::Duration::ZERO;
            return Ok(round);
        }
        let nonce = self.chain.nonce(&tag(head.number.to())).await?;
        let is_settled = self.settle_flights(journal, &head, nonce).await?;
        // What was read must be one state: of a block that is still part of the chain.
        if !is_settled || self.chain.hash_at(head.number.to()).await? != Some(head.hash) {
            return Ok(round);
        }
        self.send_next(journal, &head, nonce, now_ms, &mut round).await?;
        Ok(round)
    }
}

impl EvmAnchor {
    async fn check_chain(&mut self) -> Result<(), AnchorError> {
        if self.is_checked {
            return Ok(());
        }
        let (found, wanted) = (self.chain.chain_id().await?, self.config.chain_id);
        if found != wanted {
            let text = format!("the node is of chain {found}, `audit.anchor.chain_id` is {wanted}");
            return Err(AnchorError::Setting(text));
        }
        self.is_checked = true;
        Ok(())
    }

    async fn last_final(&self, head: &Head) -> Result<u64, AnchorError> {
        match self.config.finality {
            Finality::Depth(depth) => Ok(head.number.to::<u64>().saturating_sub(depth)),
            Finality::Finalized => {
                Ok(self.chain.block("finalized").await?.map_or(0, |b| b.number.to()))
            }
        }
    }

    /// Removes marks whose block is not part of the chain any more. Also final ones: a chain that was set back is believed.
    async fn remove_gone(&self, journal: &mut Journal) -> Result<usize, AnchorError> {
        let (mut back, mut is_back) = (u64::MAX, false);
        while let Some(mark) = journal.final_before(back)? {
            if self.is_there(&mark).await? {
                break;
            }
            (back, is_back) = (mark.block, true);
        }
        if is_back {
            journal.reopen(back)?;
            journal.set_number(READ, journal.number(READ)?.min(back.saturating_sub(1)))?;
        }
        let mut removed = 0;
        let mut last: Option<(B256, bool)> = None;
        for mark in journal.open_marks(usize::MAX >> 1)? {
            let hash = B256::from(mark.block_hash);
            let there = match last {
                Some((known, there)) if known == hash => there,
                _ => self.is_there(&mark).await?,
            };
            last = Some((hash, there));
            if !there {
                journal.remove(&mark)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn is_there(&self, mark: &Mark) -> Result<bool, AnchorError> {
        Ok(self.chain.hash_at(mark.block).await? == Some(B256::from(mark.block_hash)))
    }

    /// Notes every event from the last final block that was read up to `head`. Whether it came that far.
    async fn read_events(
        &self,
        journal: &mut Journal,
        head: &Head,
        last_final: u64,
    ) -> Result<bool, AnchorError> {
        let head: u64 = head.number.to();
        let mut from = (journal.number(READ)? + 1).max(self.config.start_block);
        for _ in 0..LOG_CALLS_PER_ROUND_MAX {
            if from > head {
                return Ok(true);
            }
            let to = head.min(from + LOG_BLOCKS_MAX - 1);
            for mark in marks(&self.chain.events(from, to).await?) {
                journal.notice(&mark)?;
            }
            journal.set_number(READ, to.min(last_final).max(journal.number(READ)?))?;
            from = to + 1;
        }
        Ok(from > head)
    }

    /// Makes evidence of marks in final blocks.
    async fn confirm_final(
        &self,
        journal: &mut Journal,
        last_final: u64,
    ) -> Result<usize, AnchorError> {
        let mut confirmed = 0;
        let mut block = None;
        for mark in journal.open_marks(OPEN_MARKS_PER_ROUND_MAX)? {
            if mark.block > last_final {
                break;
            }
            let hash = B256::from(mark.block_hash);
            if block.as_ref().is_none_or(|(known, _)| *known != hash) {
                let Some(content) = self.chain.block_content(hash).await? else { continue };
                block = Some((hash, content));
            }
            let Some((_, (header, receipts))) = &block else { continue };
            let ours = |said: &super::contract::Said| {
                let starts = match (said.subject, mark.subject) {
                    (Subject::Updates { first: a, .. }, Subject::Updates { first: b, .. }) => {
                        a == b
                    }
                    (said, marked) => said == marked,
                };
                starts && said.owner == self.chain.owner && said.origin == self.chain.origin
            };
            let (id, contract) = (self.config.chain_id, self.chain.contract);
            let made = receipt::prove(
                id,
                contract,
                mark.transaction.into(),
                hash,
                (header, receipts),
                ours,
            )?;
            if let Some(evidence) = made {
                journal.finish(&mark, &Evidence::Evm(evidence))?;
                confirmed += 1;
            }
        }
        Ok(confirmed)
    }

    /// Looks at what became of transactions whose nonce was used up to `head`. `false`: not every one is explained yet, so what was
    /// read is not one state, and nothing may be sent on it.
    async fn settle_flights(
        &mut self,
        journal: &mut Journal,
        head: &Head,
        nonce: u64,
    ) -> Result<bool, AnchorError> {
        let head: u64 = head.number.to();
        for flight in journal.landing(nonce)? {
            match self.fate(&flight).await? {
                Some((true, block)) if block > head => return Ok(false),
                Some((true, _)) => journal.land(flight.nonce)?,
                Some((false, _)) => {
                    journal.land(flight.nonce)?;
                    journal.count("reverted", 1)?;
                    let newest = flight.hashes.last().copied().unwrap_or_default();
                    return Err(AnchorError::Reverted { hash: B256::from(newest).to_string() });
                }
                // Somebody else used the nonce, if the node still says so one block later.
                None if *self.unexplained.get_or_insert(head) >= head => return Ok(false),
                None => journal.land(flight.nonce)?,
            }
            self.unexplained = None;
        }
        if journal.open_marks(1)?.is_empty() {
            journal.forget_flights(nonce)?;
        }
        Ok(true)
    }

    /// Whether one of the transactions had its effect, and in which block.
    async fn fate(&self, flight: &Flight) -> Result<Option<(bool, u64)>, AnchorError> {
        for hash in flight.hashes.iter().rev() {
            if let Some(outcome) = self.chain.outcome(B256::from(*hash)).await? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }
}

/// Updates in one transaction that follow one another are one mark.
fn marks(seen: &[Seen]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for event in seen {
        if let (Some(mark), Subject::Updates { first, .. }) = (marks.last_mut(), event.said.subject)
            && let Subject::Updates { last, .. } = &mut mark.subject
            && mark.transaction == event.transaction.0
            && *last + 1 == first
        {
            *last = first;
            continue;
        }
        marks.push(Mark {
            id: 0,
            subject: event.said.subject,
            block: event.block,
            block_hash: event.block_hash.0,
            transaction: event.transaction.0,
        });
    }
    marks
}
