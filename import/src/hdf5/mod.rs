//! Reads HDF5 files as h5py writes them for Keras (HDF5 File Format Specification 3.0, cited as "FF" with its section).
//!
//! Supported are superblocks 0 to 3, object headers 1 and 2, groups with symbol tables or link messages, string
//! attributes, and datasets of numbers: compact, contiguous, or chunked with a version 1 B-tree, deflate and shuffle.
//! This covers the default of h5py. Structures that only `libver="latest"` writes (dense groups and attributes, other
//! chunk indices) are rejected by name.
//!
//! Contiguous data is borrowed from the file. [`File::charge`] bounds all other allocations and [`File::step`] all work, so
//! that neither sizes nor cycles in a hostile file cost much.

mod attribute;
mod cursor;
mod dataset;
mod datatype;
mod file;
mod fill;
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
