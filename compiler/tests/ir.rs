//! Graph, passes, verifier and interpreter.

#[path = "ir/accesses.rs"]
mod accesses;
#[path = "ir/dump.rs"]
mod dump;
#[path = "ir/generated.rs"]
mod generated;
#[path = "ir/interp.rs"]
mod interp;
#[path = "ir/lower.rs"]
mod lower;
#[path = "ir/machine.rs"]
mod machine;
#[path = "ir/passes.rs"]
mod passes;
#[path = "ir/products.rs"]
mod products;
#[path = "ir/quantized.rs"]
mod quantized;
#[path = "ir/random.rs"]
mod random;
#[path = "ir/support.rs"]
mod support;
#[path = "ir/verify/mod.rs"]
mod verify;
