//! What the passes decide by: cost models, tile covers, splits, and the phases of a streamed block. Numbers only, no
//! tokens; code generation reads the same numbers.

pub mod accesses;
pub mod balance;
pub mod conv;
pub mod cover;
pub mod float;
pub mod phases;
pub mod quantized;
pub mod taps;
pub mod team;
