//! Valid and invalid specs, and their diagnostics.

#[path = "spec/bad.rs"]
mod bad;
#[path = "spec/good.rs"]
mod good;
#[path = "spec/hostile.rs"]
mod hostile;
