//! `build`: programs, and libraries for C.

#[path = "../common/mod.rs"]
mod common;

mod embedded;
mod folder;
mod library;
mod platforms;
mod program;
mod rejections;
mod web;
