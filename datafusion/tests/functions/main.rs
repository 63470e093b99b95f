//! Queries with the functions, compared with direct calls of the classifier.

mod arguments;
mod classify;
mod counting;
mod embed;
mod errors;
mod files;
mod tables;
mod types;
