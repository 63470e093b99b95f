//! One additional operator or layer of every kind, before, inside and after a network: an error that names it, or an import
//! for the kinds listed here.

#[path = "../common/mod.rs"]
mod common;
mod keras;
mod tflite;
