//! What is right and what is wrong in a spec, and how it is told.

#[path = "spec/bad.rs"]
mod bad;
#[path = "spec/good.rs"]
mod good;
#[path = "spec/hostile.rs"]
mod hostile;
