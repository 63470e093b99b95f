mod error;
mod image;
mod ui;
fn main() {}
