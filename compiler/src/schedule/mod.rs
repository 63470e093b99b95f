//! Cost models, tile covers, splits, and the phases of a streamed block. This module computes numbers, not tokens. The
//! passes and code generation read the same numbers.

pub mod accesses;
pub mod ahead;
pub mod balance;
pub mod blocks;
pub mod conv;
pub mod cover;
pub mod float;
pub mod instructions;
pub mod phases;
pub mod quantized;
pub mod taps;
pub mod team;
