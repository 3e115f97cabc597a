//! An audit log on disk: appended, recovered, read, proven and reviewed.
//!
//! ```text
//! audit/                      0700
//! ├── key                     the log's public key (vkey); its name is the log's origin
//! ├── delegation              the identity's word that this key speaks for it (COSE_Sign1)
//! ├── wal/<base>.wal          frames: a batch of entries and the signed checkpoint behind it
//! ├── tile/…                  full tiles and bundles (C2SP tlog-tiles), derived from the frames
//! ├── cosigned.json           the newest checkpoint that witnesses cosigned
//! ├── pending                 facts that wait for the witnesses' answer at start
//! └── lock                    held by the one writer
//! ```
//! A batch is acknowledged when its frame is durable: one write, one `fdatasync`. Signatures of the next one are
//! verified meanwhile, on every core. Tiles are written by a third thread and can be rebuilt; a frame leaves the disk only when its tiles are durable. After a crash
//! the log is the whole frames, and nothing else. [`Log`] writes; [`Reader`] reads the same directory in any
//! process, with or without a writer. Formats: `homing_core::audit`. Not here: what is logged, witnesses.

mod admission;
mod export;
pub mod limits;
mod log;
mod pending;
mod reader;
mod review;
mod tiler;
mod wal;
mod writer;

pub use export::{Exported, export};
pub use log::{Ack, Log, LogKeys, Options};
pub use reader::{Cosigned, ReadError, Reader};
pub use review::{Progress, ReviewError, Reviewed, Source, review};
pub use writer::LogError;
