//! The commands, one per file.

pub mod bench;
pub mod build;
pub mod check;
pub mod classify;
pub mod demo;
pub mod dump;
pub mod emit;
pub mod evaluate;
pub mod import;
pub mod init;
pub mod inspect;
pub mod pack;
pub mod profile;
pub mod quantize;
pub mod verify;
