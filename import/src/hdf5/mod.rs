//! Reads HDF5 files as h5py writes them for Keras (HDF5 File Format Specification 3.0, cited as "FF" with its section).
//!
//! Read are superblocks 0 to 3, object headers 1 and 2, groups of symbol tables and of link messages, attributes of
//! strings, and datasets of numbers: compact, contiguous, or chunked with a B-tree of version 1, deflated and shuffled.
//! That is all that h5py's default writes. What only `libver="latest"` writes (dense groups and attributes, other
//! indices of chunks) is refused by name.
//!
//! Contiguous data is borrowed from the file. All else that is allocated is bounded by [`File::charge`], and all work
//! by [`File::step`], so that neither sizes nor circles in a hostile file are followed far.

mod attribute;
mod cursor;
mod dataset;
mod datatype;
mod file;
mod filter;
mod group;
mod header;
#[cfg(test)]
mod tests;

pub use cursor::Address;
pub use dataset::Dataset;
pub use file::{File, MAGIC};
pub use group::Members;
pub use header::Object;
